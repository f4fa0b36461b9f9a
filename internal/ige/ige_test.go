package ige_test

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"testing"

	"github.com/quinta-chat/quinta/internal/ige"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKnownAnswers holds the mode against the two examples of OpenSSL's own
// test of IGE, with a 128-bit key.
func TestKnownAnswers(t *testing.T) {
	for _, c := range []struct{ key, iv, plain, sealed string }{
		{"000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"0000000000000000000000000000000000000000000000000000000000000000",
			"1a8519a6557be652e9da8e43da4ef4453cf456b4ca488aa383c79c98b34797cb"},
		{"5468697320697320616e20696d706c65", "6d656e746174696f6e206f6620494745206d6f646520666f72204f70656e5353",
			"99706487a1cde613bc6de0b6f24b1c7aa448c8b9c3403e3467a8cad89340f53b",
			"4c2e204c6574277320686f70652042656e20676f74206974207269676874210a"},
	} {
		b, err := aes.NewCipher(unhex(t, c.key))
		if err != nil {
			t.Fatal(err)
		}
		chain := ige.Chain(unhex(t, c.iv))
		got := make([]byte, len(c.plain)/2)
		ige.Encrypt(b, &chain, got, unhex(t, c.plain))
		if want := unhex(t, c.sealed); !bytes.Equal(got, want) {
			t.Errorf("encrypted: got %x, want %x", got, want)
		}
		chain = ige.Chain(unhex(t, c.iv))
		ige.Decrypt(b, &chain, got, got) // in place
		if want := unhex(t, c.plain); !bytes.Equal(got, want) {
			t.Errorf("decrypted: got %x, want %x", got, want)
		}
	}
}

// TestPieces shows that pieces of any sizes give what one call gives.
func TestPieces(t *testing.T) {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte("sixteen and some"), 9)
	var whole, pieces, back ige.Chain
	want, got, open := make([]byte, len(plain)), make([]byte, len(plain)), make([]byte, len(plain))
	ige.Encrypt(b, &whole, want, plain)
	for from, n := 0, 16; from < len(plain); from, n = from+n, n+16 {
		n = min(n, len(plain)-from)
		ige.Encrypt(b, &pieces, got[from:], plain[from:from+n])
		ige.Decrypt(b, &back, open[from:], got[from:from+n])
	}
	if !bytes.Equal(got, want) || !bytes.Equal(open, plain) {
		t.Errorf("in pieces: got %x, want %x; opened %q", got, want, open)
	}
}

// TestRefusesHalfBlocks shows that a part of a block is never dropped.
func TestRefusesHalfBlocks(t *testing.T) {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a call with 17 bytes returned")
		}
	}()
	var c ige.Chain
	ige.Encrypt(b, &c, make([]byte, 32), make([]byte, 17))
}

func BenchmarkDecrypt(bb *testing.B) {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		bb.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	bb.SetBytes(int64(len(buf)))
	var c ige.Chain
	for bb.Loop() {
		ige.Decrypt(b, &c, buf, buf)
	}
}
