package db_test

import (
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/server/db"
)

func TestPieces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		want []int
	}{
		{0, nil}, {1, []int{1}}, {3, []int{2, 1}}, {80, []int{64, 16}}, {300, []int{128, 128, 32, 8, 4}},
	} {
		list := make([]int, c.n)
		for i := range list {
			list[i] = i
		}
		var sizes, all []int
		for p := range db.Pieces(list) {
			sizes = append(sizes, len(p))
			all = append(all, p...)
		}
		if !slices.Equal(sizes, c.want) {
			t.Errorf("%d: got sizes %v, want %v", c.n, sizes, c.want)
		}
		if !slices.Equal(all, list) {
			t.Errorf("%d: got %v, want all in order", c.n, all)
		}
	}
	for range db.Pieces([]int{1, 2, 3}) {
		break // a loop may end early
	}
}

func TestTuples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, n, width int
		want            string
	}{
		{1, 1, 1, "$1"}, {2, 3, 1, "$2,$3,$4"}, {1, 1, 2, "($1,$2)"}, {9, 2, 3, "($9,$10,$11),($12,$13,$14)"}, {1, 0, 2, ""},
	} {
		for range 2 { // the second time from memory
			if got := db.Tuples(c.first, c.n, c.width); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		}
	}
}
