package order_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/internal/order"
)

type pair struct{ key, place int }

func TestBy(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 13, 500} {
		list := make([]pair, n)
		for i := range list {
			list[i] = pair{key: r.IntN(1 + n/3), place: i}
		}
		want := slices.Clone(list)
		slices.SortFunc(want, func(a, b pair) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.place, b.place)) })
		order.By(list, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
		if !slices.Equal(list, want) {
			t.Errorf("%d: got %v, want %v", n, list, want)
		}
	}
}
