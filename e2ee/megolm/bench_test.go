package megolm_test

import (
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
)

func BenchmarkSeal(b *testing.B) {
	out := newOutbound(b, 1)
	text := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := out.Seal(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	out := newOutbound(b, 1)
	in := newInbound(b, out)
	sealed, err := out.Seal(make([]byte, 256))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := megolm.ParseMessage(sealed)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := in.Open(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal64K(b *testing.B) {
	out := newOutbound(b, 1)
	text := make([]byte, 64<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := out.Seal(text); err != nil {
			b.Fatal(err)
		}
	}
}
