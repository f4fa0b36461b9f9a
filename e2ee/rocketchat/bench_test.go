package rocketchat

import (
	"crypto/rand"
	"strings"
	"testing"
)

// TestAllocations holds that sealing and opening a message of 256 bytes stays
// cheap: at most six allocations each.
func TestAllocations(t *testing.T) {
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain := TextBody(strings.Repeat("x", 246))
	c, err := SealContent(rand.Reader, k, plain)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = SealContent(rand.Reader, k, plain) }); n > 6 {
		t.Errorf("seal: got %v allocations, want at most 6", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = OpenContent(k, c) }); n > 6 {
		t.Errorf("open: got %v allocations, want at most 6", n)
	}
}

func BenchmarkSealContent(b *testing.B) {
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	plain := TextBody(strings.Repeat("x", 246))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SealContent(rand.Reader, k, plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenContent(b *testing.B) {
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c, err := SealContent(rand.Reader, k, TextBody(strings.Repeat("x", 246)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenContent(k, c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrap wraps a room key for one member: the whole is RSA.
func BenchmarkWrap(b *testing.B) {
	p, err := GeneratePrivateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := k.Wrap(rand.Reader, p.Public()); err != nil {
			b.Fatal(err)
		}
	}
}
