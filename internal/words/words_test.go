package words_test

import (
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/internal/words"
)

func TestEveryNumber(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 2048 {
		w := words.Write([]byte{byte(n >> 3), byte(n << 5)}, 1)[0]
		if got := words.Number(w); got != n || seen[w] || len(w) != 4 {
			t.Fatalf("%d: got %q with number %d, seen %v", n, w, got, seen[w])
		}
		seen[w] = true
	}
	for _, w := range []string{"", "bab", "baba ", "BABA", "babx", "aaaa", "bäb"} {
		if got := words.Number(w); got != -1 {
			t.Errorf("%q: got %d, want -1", w, got)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	if got, want := words.Write([]byte{0, 0x1f, 0xff, 0xc0}, 2), []string{"baba", "zozu"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
