package db

import (
	"iter"
	"strconv"
	"strings"
	"sync"
)

// maxPiece bounds the rows of one statement with a list.
const maxPiece = 128

// Pieces cuts list into pieces whose lengths are powers of two, so that
// statements with a list have few different texts, each prepared once. The
// pieces keep the order of the list and share its memory.
func Pieces[T any](list []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for size := maxPiece; len(list) > 0; {
			if size > len(list) {
				size /= 2
				continue
			}
			if !yield(list[:size:size]) {
				return
			}
			list = list[size:]
		}
	}
}

var tuples sync.Map // of [3]int to string

// Tuples returns the text of n tuples of width parameters each, numbered from
// $first on: "($2,$3),($4,$5)". For width 1 there are no inner brackets, as
// an IN list needs it: "$2,$3".
func Tuples(first, n, width int) string {
	k := [3]int{first, n, width}
	if s, ok := tuples.Load(k); ok {
		return s.(string)
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if width > 1 {
			b.WriteByte('(')
		}
		for j := range width {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(first + i*width + j))
		}
		if width > 1 {
			b.WriteByte(')')
		}
	}
	if n <= maxPiece {
		tuples.Store(k, b.String())
	}
	return b.String()
}
