package seal_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// FuzzOpen opens any bytes as a sealed message: nothing opens but what was
// sealed.
func FuzzOpen(f *testing.F) {
	w := town.New(f)
	alice, bob := w.Person("alice@hs1", "A"), w.Person("bob@hs1", "B")
	raw, err := seal.Seal(rand.Reader, alice, content(), []*x509.Certificate{bob.Encrypt})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := seal.Open(b, bob, w.Verifier, expect()); err == nil && (o.Content.ID != "m1" || !bytes.Equal(o.Content.Body, content().Body)) {
			t.Errorf("opened to %+v", o.Content)
		}
	})
}

// FuzzSigned opens any bytes that someone has sealed for this device: nothing
// that the signer did not sign opens.
func FuzzSigned(f *testing.F) {
	w := town.New(f)
	alice, bob := w.Person("alice@hs1", "A"), w.Person("bob@hs1", "B")
	f.Add(must(seal.Sign(rand.Reader, alice, content())))
	f.Fuzz(func(t *testing.T, signed []byte) {
		raw, err := seal.SealSigned(rand.Reader, signed, []*x509.Certificate{bob.Encrypt})
		if err != nil {
			return
		}
		if o, err := seal.Open(raw, bob, w.Verifier, expect()); err == nil && (o.Content.ID != "m1" || !bytes.Equal(o.Content.Body, content().Body)) {
			t.Errorf("opened to %+v", o.Content)
		}
	})
}

// FuzzRecovery: a recovery text that is read is the one of its key, but for
// case and white space.
func FuzzRecovery(f *testing.F) {
	f.Add(seal.RecoveryText([32]byte{1, 2, 3}))
	f.Add("abandon ability")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := seal.ParseRecovery(text)
		if err != nil {
			return
		}
		again, err := seal.ParseRecovery(seal.RecoveryText(k))
		if err != nil || again != k {
			t.Errorf("%q: got another key, %v", text, err)
		}
	})
}
