package base64text_test

import (
	"testing"

	"github.com/quinta-chat/quinta/internal/base64text"
)

func BenchmarkEncode(b *testing.B) {
	long := make([]byte, 64<<10)
	b.SetBytes(int64(len(long)))
	for b.Loop() {
		base64text.Encode(long)
	}
}
