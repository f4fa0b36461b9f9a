package aessha2_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/aessha2"
)

// reference computes the same with the standard library alone.
func reference(t *testing.T, ikm, plaintext []byte) (ciphertext, mac []byte) {
	t.Helper()
	okm, err := hkdf.Key(sha256.New, ikm, nil, "INFO", 80)
	if err != nil {
		t.Fatal(err)
	}
	b, err := aes.NewCipher(okm[:32])
	if err != nil {
		t.Fatal(err)
	}
	pad := 16 - len(plaintext)%16
	padded := append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(b, okm[64:]).CryptBlocks(padded, padded)
	h := hmac.New(sha256.New, okm[32:64])
	h.Write(padded)
	return padded, h.Sum(nil)[:8]
}

func TestAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	for n := range 70 {
		ikm := bytes.Repeat([]byte{byte(n)}, 32)
		plaintext := bytes.Repeat([]byte{'p'}, n)
		ciphertext, mac := reference(t, ikm, plaintext)
		k := aessha2.Derive(ikm, "INFO")
		got := k.Encrypt([]byte("head"), plaintext)
		if !bytes.Equal(got, append([]byte("head"), ciphertext...)) {
			t.Fatalf("%d bytes: got %x, want head and %x", n, got, ciphertext)
		}
		if got, want := len(ciphertext), aessha2.CiphertextSize(n); got != want {
			t.Errorf("CiphertextSize(%d): got %d, want %d", n, want, got)
		}
		if got := k.MAC(ciphertext); !bytes.Equal(got[:], mac) {
			t.Errorf("mac: got %x, want %x", got, mac)
		}
		if !k.Verify(ciphertext, mac) || k.Verify(ciphertext, mac[:7]) || k.Verify(ciphertext, append(mac, 0)) || k.Verify(ciphertext[1:], mac) {
			t.Error("Verify is wrong")
		}
		back, err := k.Decrypt(ciphertext)
		if err != nil || !bytes.Equal(back, plaintext) {
			t.Errorf("got %q, %v, want %q", back, err, plaintext)
		}
	}
}

// TestPadding encrypts blocks without padding of their own, so that every
// last byte can be offered as padding.
func TestPadding(t *testing.T) {
	t.Parallel()
	k := aessha2.Derive([]byte("ikm"), "INFO")
	for pad := range 256 {
		for _, broken := range []bool{false, true} {
			block := bytes.Repeat([]byte{byte(pad)}, 32)
			if broken && pad > 1 && pad <= 16 {
				block[32-pad] ^= 1
			}
			ciphertext := k.Encrypt(nil, block)[:32]
			got, err := k.Decrypt(ciphertext)
			want := pad >= 1 && pad <= 16 && (!broken || pad == 1)
			if (err == nil) != want {
				t.Errorf("padding %d, broken %v: got %x, %v, want accepted %v", pad, broken, got, err, want)
			}
			if want && len(got) != 32-pad {
				t.Errorf("padding %d: got %d bytes, want %d", pad, len(got), 32-pad)
			}
		}
	}
	for _, n := range []int{0, 1, 15, 17} {
		if _, err := k.Decrypt(make([]byte, n)); !errors.Is(err, aessha2.ErrPadding) {
			t.Errorf("%d bytes: got %v, want ErrPadding", n, err)
		}
	}
}

func TestWipe(t *testing.T) {
	t.Parallel()
	k := aessha2.Derive([]byte("ikm"), "INFO")
	k.Wipe()
	if k != (aessha2.Keys{}) {
		t.Error("got bytes left after Wipe")
	}
}
