package main

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/quinta-chat/quinta/e2ee/attachment"
)

// A figure stands by itself: nothing that others measured is beside it.
type figure struct {
	id, what, unit string
	// bar is the most that may be; 0 is none.
	bar     float64
	measure func(rounds int) (float64, error)
}

// micros makes a figure of the best time of an operation.
func micros(setup func() (func() error, error), count int) func(int) (float64, error) {
	b := timed(setup)
	return func(rounds int) (float64, error) {
		best := math.Inf(1)
		for range rounds {
			ns, err := b(count)
			if err != nil {
				return 0, err
			}
			best = min(best, ns/1000)
		}
		return best, nil
	}
}

// figures makes the keys that they are measured with.
func figures() ([]figure, error) {
	out := []figure{{"C9", "attachment stream of 8 MB, memory", "KB", 1000, streamMemory}}
	for _, kind := range []struct {
		name string
		make func() (crypto.Signer, error)
	}{{"P-256", newP256}, {"RSA-3072", newRSA}} {
		t, err := newTown(kind.make, 100)
		if err != nil {
			return nil, err
		}
		if kind.name == "P-256" {
			out = append(out,
				figure{"C15", "chain seen before verified again", "us", 1, micros(t.verifiedAgain, 2000)},
				figure{"CA", "chain verified first", "us", 0, micros(t.verifiedFirst, 50)},
				figure{"CA", "request checked, certificate issued", "us", 0, micros(t.issuing, 50)})
		}
		for _, n := range []int{1, 100} {
			out = append(out,
				figure{"CA", fmt.Sprintf("256 B sealed for %d, %s", n, kind.name), "us", 0, micros(t.sealing(n), 3)},
				figure{"CA", fmt.Sprintf("256 B for %d opened, %s", n, kind.name), "us", 0, micros(t.opening(n), 3)})
		}
	}
	return out, nil
}

// streamSize is how much goes through a stream.
const streamSize = 8 << 20

// still is a source that costs nothing: what is read is what was there.
type still struct{}

func (still) Read(p []byte) (int, error) { return len(p), nil }

func sealStream() (func() error, error) {
	buf := make([]byte, 32<<10)
	return func() error {
		r, err := attachment.NewSealReader(rand.Reader, io.LimitReader(still{}, streamSize))
		for err == nil {
			_, err = r.Read(buf)
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	}, nil
}

// encryptAndHash is AES-256-CTR over all, and then SHA-256 over all: what the
// stream must not be slower than by more than a tenth.
func encryptAndHash() (func() error, error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 32<<10)
	return func() error {
		s := cipher.NewCTR(block, make([]byte, aes.BlockSize))
		for range streamSize / len(buf) {
			s.XORKeyStream(buf, buf)
		}
		h := sha256.New()
		for range streamSize / len(buf) {
			h.Write(buf)
		}
		h.Sum(nil)
		return nil
	}, nil
}

// streamMemory is all that is allocated while a stream runs.
func streamMemory(int) (float64, error) {
	op, err := sealStream()
	if err != nil {
		return 0, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = op()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / 1000, err
}
