package hmacsha256_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"github.com/quinta-chat/quinta/internal/hmacsha256"
)

func TestSumAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 130).Draw(t, "key")
		message := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "message")
		h := hmac.New(sha256.New, key)
		h.Write(message)
		if got, want := hmacsha256.Sum(key, message), h.Sum(nil); !bytes.Equal(got[:], want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestHKDFAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		salt := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "salt")
		ikm := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "ikm")
		info := rapid.StringN(0, 39, 159).Draw(t, "info")
		n := rapid.IntRange(0, 300).Draw(t, "n")
		want, err := hkdf.Key(sha256.New, ikm, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		hmacsha256.HKDF(got, salt, ikm, info)
		if !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	longest := make([]byte, 255*32)
	hmacsha256.HKDF(longest, nil, []byte("ikm"), "info")
	want, err := hkdf.Key(sha256.New, []byte("ikm"), nil, "info", len(longest))
	if err != nil || !bytes.Equal(longest, want) {
		t.Errorf("got another longest output than the standard library, %v", err)
	}
	for _, f := range []func(){
		func() { hmacsha256.HKDF(make([]byte, 255*32+1), nil, nil, "") },
		func() { hmacsha256.HKDF(make([]byte, 1), nil, nil, string(make([]byte, 160))) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic beyond the limit")
				}
			}()
			f()
		}()
	}
}

func TestNoAllocations(t *testing.T) {
	var key, ikm [32]byte
	out := make([]byte, 80)
	if got := testing.AllocsPerRun(100, func() {
		key = hmacsha256.Sum(key[:], []byte{2})
		hmacsha256.HKDF(out, nil, ikm[:], "INFO")
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
