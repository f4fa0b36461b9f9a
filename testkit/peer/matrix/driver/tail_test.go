package driver

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestTail: of a long log the end is kept, in lines that are not too long,
// whatever the pieces are in which it was written.
func TestTail(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for i := range 3 * tailLines {
		fmt.Fprintf(&all, "%d %s\n", i, strings.Repeat("ñ", i*4))
	}
	all.WriteString("the rest")
	for _, piece := range []int{1, 7, 4096, all.Len()} {
		log := &tail{}
		for b := []byte(all.String()); len(b) > 0; b = b[min(piece, len(b)):] {
			if n, err := log.Write(b[:min(piece, len(b))]); err != nil || n != min(piece, len(b)) {
				t.Fatalf("got %d, %v, want all written", n, err)
			}
		}
		lines := strings.Split(log.String(), "\n")
		if len(lines) != tailLines+1 {
			t.Fatalf("got %d lines, want %d and the beginning of one", len(lines), tailLines)
		}
		for i, line := range lines[:tailLines] {
			want := fmt.Sprintf("%d ñ", 2*tailLines+i)
			if !strings.HasPrefix(line, want) || len(line) > lineSize+8 || !utf8.ValidString(line) {
				t.Errorf("in pieces of %d: got line %q, want it to begin with %q and at most %d bytes", piece, line, want, lineSize)
			}
		}
		if lines[tailLines] != "the rest" {
			t.Errorf("got %q at the end, want what was written last", lines[tailLines])
		}
	}
}
