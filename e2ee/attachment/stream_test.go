package attachment_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/attachment"
)

// The ciphertext of TestKnownAnswer and its SHA-256, as OpenSSL gives them.
const (
	knownCiphertext = "e5acd38fe219"
	knownHash       = "rABwkGtMFqnypFhdZGtOt393x3aXY6c0l80rVebQ/eg"
)

// withHash puts the hash of ciphertext into the description text.
func withHash(text string, ciphertext []byte) string {
	sum := sha256.Sum256(ciphertext)
	head, _, _ := strings.Cut(text, `"sha256":"`)
	return head + `"sha256":"` + base64.RawStdEncoding.EncodeToString(sum[:]) + `"}}`
}

// zeros is an endless source of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMemory seals a large file and holds the memory against the bar.
func TestMemory(t *testing.T) {
	const size = 64 << 20
	r, err := attachment.NewSealReader(zeros{}, io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, r)
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("got %d bytes allocated, want at most 1 MB", got)
	}
}

const benchSize = 8 << 20

// BenchmarkStream compares with BenchmarkCTR and BenchmarkSHA256: the bar is
// 0.90 of 1/(1/CTR + 1/SHA).
func BenchmarkStream(b *testing.B) {
	data := make([]byte, benchSize)
	buf := make([]byte, 64<<10)
	b.SetBytes(benchSize)
	for b.Loop() {
		r, err := attachment.NewSealReader(zeros{}, bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Read(buf)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	data := make([]byte, benchSize)
	_, f := benchSealed(b, data)
	buf := make([]byte, 64<<10)
	b.SetBytes(benchSize)
	for b.Loop() {
		r, err := attachment.Open(f, bytes.NewReader(data), benchSize)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Read(buf)
		}
	}
}

// benchSealed describes data as if it were the ciphertext of a file.
func benchSealed(b *testing.B, data []byte) ([]byte, *attachment.File) {
	b.Helper()
	r, err := attachment.NewSealReader(zeros{}, strings.NewReader(""))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil {
		b.Fatal(err)
	}
	empty, err := r.File("mxc://x/y")
	if err != nil {
		b.Fatal(err)
	}
	f, err := attachment.Parse([]byte(withHash(string(empty.Encode()), data)))
	if err != nil {
		b.Fatal(err)
	}
	return data, f
}

func BenchmarkCTR(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 32<<10)
	b.SetBytes(benchSize)
	for b.Loop() {
		s := cipher.NewCTR(block, make([]byte, 16))
		for range benchSize / len(buf) {
			s.XORKeyStream(buf, buf)
		}
	}
}

func BenchmarkSHA256(b *testing.B) {
	buf := make([]byte, 32<<10)
	b.SetBytes(benchSize)
	for b.Loop() {
		h := sha256.New()
		for range benchSize / len(buf) {
			h.Write(buf)
		}
		h.Sum(nil)
	}
}
