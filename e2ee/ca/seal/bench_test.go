package seal_test

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// sized is a message of 256 bytes for a number of devices.
func sized(b *testing.B, n int) (*town.Town, *seal.Self, *seal.Self, seal.Content, []*x509.Certificate) {
	w := town.New(b)
	alice, bob := w.Person("alice@hs1", "A"), w.Person("bob@hs1", "B")
	c := content()
	body := make([]byte, 254)
	for i := range body {
		body[i] = 'x'
	}
	c.Body = []byte(`"` + string(body) + `"`)
	to := []*x509.Certificate{bob.Encrypt}
	for len(to) < n {
		to = append(to, w.Certify(cert.Identity{User: "bob@hs1", Device: "B2", Use: cert.UseEncrypt}, town.Key(b)))
	}
	return w, alice, bob, c, to
}

func benchSeal(b *testing.B, n int) {
	_, alice, _, c, to := sized(b, n)
	for b.Loop() {
		if _, err := seal.Seal(rand.Reader, alice, c, to); err != nil {
			b.Fatal(err)
		}
	}
}

func benchOpen(b *testing.B, n int) {
	w, alice, bob, c, to := sized(b, n)
	raw := must(seal.Seal(rand.Reader, alice, c, to))
	for b.Loop() {
		if _, err := seal.Open(raw, bob, w.Verifier, expect()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealFor1(b *testing.B)   { benchSeal(b, 1) }
func BenchmarkSealFor100(b *testing.B) { benchSeal(b, 100) }
func BenchmarkOpenFor1(b *testing.B)   { benchOpen(b, 1) }
func BenchmarkOpenFor100(b *testing.B) { benchOpen(b, 100) }
