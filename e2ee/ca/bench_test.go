package ca_test

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca"
)

// BenchmarkIssue makes one certificate from a request that was checked.
func BenchmarkIssue(b *testing.B) {
	w := newTown(b)
	id := ca.Identity{User: "alice@hs1", Device: "A", Use: ca.UseSign}
	r := must(ca.ParseRequest(must(ca.NewRequest(rand.Reader, id, newKey(b))), id))
	for b.Loop() {
		if _, err := w.issuer.Issue(r, now, ca.Validity); err != nil {
			b.Fatal(err)
		}
	}
}

// sized is a message of 256 bytes for a number of devices.
func sized(b *testing.B, n int) (*town, *ca.Self, *ca.Self, ca.Content, []*x509.Certificate) {
	w := newTown(b)
	alice, bob := w.person("alice@hs1", "A"), w.person("bob@hs1", "B")
	c := content()
	body := make([]byte, 254)
	for i := range body {
		body[i] = 'x'
	}
	c.Body = []byte(`"` + string(body) + `"`)
	to := []*x509.Certificate{bob.Encrypt}
	for len(to) < n {
		to = append(to, w.certify(ca.Identity{User: "bob@hs1", Device: "B2", Use: ca.UseEncrypt}, newKey(b)))
	}
	return w, alice, bob, c, to
}

func benchSeal(b *testing.B, n int) {
	_, alice, _, c, to := sized(b, n)
	for b.Loop() {
		if _, err := ca.Seal(rand.Reader, alice, c, to); err != nil {
			b.Fatal(err)
		}
	}
}

func benchOpen(b *testing.B, n int) {
	w, alice, bob, c, to := sized(b, n)
	raw := must(ca.Seal(rand.Reader, alice, c, to))
	for b.Loop() {
		if _, err := ca.Open(raw, bob, w.v, expect()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealFor1(b *testing.B)   { benchSeal(b, 1) }
func BenchmarkSealFor100(b *testing.B) { benchSeal(b, 100) }
func BenchmarkOpenFor1(b *testing.B)   { benchOpen(b, 1) }
func BenchmarkOpenFor100(b *testing.B) { benchOpen(b, 100) }
