package seal_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/giant"
	"github.com/quinta-chat/quinta/testkit/town"
)

// TestStrangersKeys: nothing is computed with the key of a certificate for
// which no authority vouches, whatever its size.
func TestStrangersKeys(t *testing.T) {
	c := newCast(t)
	carries := func(raw []byte) []byte {
		sealed, err := cms.Seal(rand.Reader, raw, []*x509.Certificate{c.bob.Encrypt})
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	for _, bits := range []int{16_384, 200_000} {
		signer, err := x509.ParseCertificate(giant.Certificate(bits))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := cms.Sign(rand.Reader, []byte("{}"), cms.Signer{Certificate: signer, Key: c.alice.SignKey}, now)
		if err != nil {
			t.Fatal(err)
		}
		raw := carries(signed)
		const most = 5 * time.Millisecond
		took, err := giant.Fastest(func() error { _, err := seal.Open(raw, c.bob, c.Verifier, expect()); return err })
		if !errors.Is(err, cert.ErrUnsupported) || took > most {
			t.Errorf("%d bits: got %v after %s, want it refused within %s", bits, err, took, most)
		}
	}
	// The signature is wrong as well, and that is not found out.
	stranger := town.New(t).Person("alice@hs1", "A")
	signed, err := cms.Sign(rand.Reader, []byte("{}"), cms.Signer{Certificate: stranger.Sign, Key: c.alice.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(carries(signed), c.bob, c.Verifier, expect()); !errors.Is(err, cert.ErrUntrusted) {
		t.Errorf("by a certificate of another authority: got %v, want it refused before its signature is looked at", err)
	}
}
