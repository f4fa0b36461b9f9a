package cbc_test

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/cbc"
)

// TestKnownAnswer is the first block of F.2.1 of NIST SP 800-38A; the second
// block is padding.
func TestKnownAnswer(t *testing.T) {
	t.Parallel()
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	block, err := aes.NewCipher(unhex("2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	iv, plain := unhex("000102030405060708090a0b0c0d0e0f"), unhex("6bc1bee22e409f96e93d7e117393172a")
	sealed := cbc.Seal([]byte("before"), block, iv, plain)
	if got, want := hex.EncodeToString(sealed[6:22]), "7649abac8119b246cee98e9b12e9197d"; got != want || len(sealed) != 6+cbc.Size(16) {
		t.Errorf("got %s in %d bytes, want %s in %d", got, len(sealed), want, 6+cbc.Size(16))
	}
	if got, err := cbc.Open(block, iv, sealed[6:]); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %x, %v, want %x", got, err, plain)
	}
}

// TestPadding offers every last byte as padding.
func TestPadding(t *testing.T) {
	t.Parallel()
	block, _ := aes.NewCipher(make([]byte, 32))
	iv := make([]byte, 16)
	for pad := range 256 {
		for _, broken := range []bool{false, true} {
			text := bytes.Repeat([]byte{byte(pad)}, 32)
			if broken && pad > 1 && pad <= 16 {
				text[32-pad] ^= 1
			}
			got, err := cbc.Open(block, iv, cbc.Seal(nil, block, iv, text)[:32])
			want := pad >= 1 && pad <= 16 && (!broken || pad == 1)
			if (err == nil) != want || want && len(got) != 32-pad {
				t.Errorf("padding %d, broken %v: got %x, %v, want accepted %v", pad, broken, got, err, want)
			}
		}
	}
	for _, n := range []int{0, 1, 15, 17} {
		if _, err := cbc.Open(block, iv, make([]byte, n)); !errors.Is(err, cbc.ErrPadding) {
			t.Errorf("%d bytes: got %v, want ErrPadding", n, err)
		}
	}
}
