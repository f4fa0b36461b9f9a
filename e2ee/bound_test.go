package e2ee_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// TestBound holds a bound against a list that does the same by hand.
func TestBound(t *testing.T) {
	t.Parallel()
	const each, all = 3, 5
	type item struct{ sender, key string }
	within(t, func(tx e2ee.Tx) {
		luck := rand.New(rand.NewPCG(1, 2))
		var list []item
		for step := range 2000 {
			b := e2ee.NewBound(tx, "pets", each, all) // nothing is remembered outside of the store
			x := item{fmt.Sprint("s", luck.IntN(4)), fmt.Sprint("k", luck.IntN(12))}
			at := slices.IndexFunc(list, func(y item) bool { return y.key == x.key })
			if luck.IntN(4) == 0 {
				must(t, b.Drop(x.key))
				if at >= 0 {
					list = slices.Delete(list, at, at+1)
				}
				continue
			}
			var want []string
			if at < 0 {
				mine := func(y item) bool { return y.sender == x.sender }
				n := 0
				for _, y := range list {
					if mine(y) {
						n++
					}
				}
				out := -1
				switch {
				case n == each:
					out = slices.IndexFunc(list, mine)
				case len(list) == all:
					out = 0
				}
				if out >= 0 {
					want = []string{list[out].key}
					list = slices.Delete(list, out, out+1)
				}
				list = append(list, x)
			}
			full, err := b.Full(x.sender)
			if must(t, err); at < 0 && full != (want != nil) {
				t.Fatalf("step %d: %v: full is %v, want %v", step, x, full, want != nil)
			}
			got, err := b.Add(x.sender, x.key)
			if must(t, err); !slices.Equal(got, want) {
				t.Fatalf("step %d: %v: got %q evicted, want %q", step, x, got, want)
			}
		}
		// Other bounds of the store are apart, and what is left can be dropped
		// down to nothing but the number that comes next.
		other, err := e2ee.NewBound(tx, "petsitters", 1, 1).Add("s0", "k0")
		if must(t, err); other != nil {
			t.Errorf("got %q evicted from a new bound", other)
		}
		for _, x := range list {
			must(t, e2ee.NewBound(tx, "pets", each, all).Drop(x.key))
		}
		entries, err := e2ee.Entries(tx, "bound/pets/")
		if must(t, err); len(entries) != 1 {
			t.Errorf("got %d records left of nothing, want 1", len(entries))
		}
	})
}
