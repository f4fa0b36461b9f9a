package cbc_test

import (
	"bytes"
	"crypto/aes"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/cbc"
)

// FuzzOpen: what opens is the one ciphertext of its plaintext.
func FuzzOpen(f *testing.F) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	iv := make([]byte, aes.BlockSize)
	for n := range 34 {
		f.Add(cbc.Seal(nil, block, iv, make([]byte, n)))
	}
	f.Fuzz(func(t *testing.T, ciphertext []byte) {
		plain, err := cbc.Open(block, iv, bytes.Clone(ciphertext))
		if err != nil {
			if !errors.Is(err, cbc.ErrPadding) || plain != nil {
				t.Errorf("got %x, %v, want ErrPadding alone", plain, err)
			}
			return
		}
		if again := cbc.Seal(nil, block, iv, plain); !bytes.Equal(again, ciphertext) {
			t.Errorf("got %x of %x", again, ciphertext)
		}
	})
}
