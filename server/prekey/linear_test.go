package prekey_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/testkit/linear"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// queue is the model: "" in claims a key, other text uploads keys. The state
// is the keys that wait, in order, and after a bar those that were given out.
var queue = porcupine.Model{
	Init: func() any { return "|" },
	Step: func(state, in, out any) (bool, any) {
		left, right, _ := strings.Cut(state.(string), "|")
		waiting, given := strings.Fields(left), strings.Fields(right)
		if in == "" {
			if len(waiting) == 0 {
				return out == "", state
			}
			return out == waiting[0], strings.Join(waiting[1:], " ") + "|" + strings.Join(append(given, waiting[0]), " ")
		}
		for _, id := range strings.Fields(in.(string)) {
			if !slices.Contains(waiting, id) && !slices.Contains(given, id) {
				waiting = append(waiting, id)
			}
		}
		return out == "", strings.Join(waiting, " ") + "|" + strings.Join(given, " ")
	},
	DescribeOperation: func(in, out any) string {
		if in == "" {
			return fmt.Sprintf("claim = %q", out)
		}
		return fmt.Sprintf("upload %s", in)
	},
}

// Uploads that overlap and repeat and claims, from two nodes where the engine
// allows two: one order explains all answers.
func TestClaimsAreLinearizable(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			nodes := []*db.DB{stores.Open(t, cfg, prekey.Schema)}
			if !nodes[0].Embedded() {
				nodes = append(nodes, stores.Open(t, cfg, prekey.Schema))
			}
			linear.Run(t, queue, 6, func(n int, do func(any, func() any)) {
				d := nodes[n%len(nodes)]
				for i := range 8 {
					if n%3 == 0 {
						ids := fmt.Sprintf("k%d k%d", i, i+1+n)
						do(ids, func() any {
							if err := d.Update(t.Context(), func(tx *db.Tx) error { return prekey.Put(tx, network, bob, "A", keys(ids)) }); err != nil {
								t.Error(err)
							}
							return ""
						})
						continue
					}
					do("", func() any {
						var got []prekey.Claimed
						if err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
							got, err = prekey.Claim(tx, network, []prekey.Want{{User: bob, Device: "A", Algorithm: alg}})
							return err
						}); err != nil {
							t.Error(err)
						}
						if len(got) == 0 {
							return ""
						}
						return got[0].ID
					})
				}
			})
		})
	}
}
