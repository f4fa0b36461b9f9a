package cms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/giant"
)

// TestGiantSigner: the sender of a message chooses the signer's key, so its
// size is judged before anything is computed with it.
func TestGiantSigner(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, bits := range []int{16_384, 200_000} {
		c, err := x509.ParseCertificate(giant.Certificate(bits))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := cms.Sign(rand.Reader, []byte("hi"), cms.Signer{Certificate: c, Key: key}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		const most = 5 * time.Millisecond
		if took, err := giant.Fastest(func() error { _, err := cms.Parse(raw); return err }); !errors.Is(err, cms.ErrUnsupported) || took > most {
			t.Errorf("%d bits: got %v after %s, want it refused within %s", bits, err, took, most)
		}
	}
}
