package aessha2_test

import (
	"testing"

	"github.com/quinta-chat/quinta/internal/aessha2"
)

func BenchmarkDerive(b *testing.B) {
	var ikm [128]byte
	for b.Loop() {
		aessha2.Derive(ikm[:], "MEGOLM_KEYS")
	}
}

func BenchmarkDecrypt(b *testing.B) {
	k := aessha2.Derive([]byte("ikm"), "INFO")
	ciphertext := k.Encrypt(nil, make([]byte, 256))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Decrypt(ciphertext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMAC(b *testing.B) {
	k := aessha2.Derive([]byte("ikm"), "INFO")
	m := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		k.MAC(m)
	}
}
