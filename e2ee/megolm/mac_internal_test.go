package megolm

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/aessha2"
	"github.com/quinta-chat/quinta/key"
)

// TestAttack18BadMACUnderAGoodSignature: the signature covers the MAC, so
// only the sender can send a wrong one; it is refused all the same.
func TestAttack18BadMACUnderAGoodSignature(t *testing.T) {
	t.Parallel()
	signing, err := key.GenerateSigning[key.MegolmSession](rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var r ratchet
	if _, err := rand.Read(r.parts[:]); err != nil {
		t.Fatal(err)
	}
	good := seal(&r, signing, []byte("hello"))
	for i := range aessha2.MACSize {
		bad := bytes.Clone(good[:len(good)-key.SignatureSize])
		bad[len(bad)-1-i] ^= 1
		m, err := ParseMessage(append(bad, signing.Sign(bad)...))
		if err != nil {
			t.Fatal(err)
		}
		if !signing.Public().Verify(m.signed()) {
			t.Fatal("the signature of the test is wrong")
		}
		if got, err := m.open(&r); !errors.Is(err, ErrBadMAC) {
			t.Errorf("byte %d of the MAC: got %q, %v, want ErrBadMAC", i, got, err)
		}
	}
	m, err := ParseMessage(good)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.open(&r); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}
