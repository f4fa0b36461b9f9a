package mailbox_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/testkit/linear"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// A box is the model: sending under an id says whether it was the first time
// and appends the id; reading gives all that was appended.
var box = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		have := state.(string)
		if in == "" {
			return out == have, state
		}
		if first := !strings.Contains(have+" ", " "+in.(string)+" "); first {
			return out == true, have + " " + in.(string)
		}
		return out == false, state
	},
	DescribeOperation: func(in, out any) string {
		if in == "" {
			return fmt.Sprintf("read = %s", out)
		}
		return fmt.Sprintf("send %s = first: %v", in, out)
	},
}

// Senders that repeat each other's ids, and readers, from two nodes where the
// engine allows two.
func TestSendingIsLinearizable(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			nodes := []*db.DB{stores.Open(t, cfg, mailbox.Schema)}
			if !nodes[0].Embedded() {
				nodes = append(nodes, stores.Open(t, cfg, mailbox.Schema))
			}
			linear.Run(t, box, 6, func(n int, do func(any, func() any)) {
				d := nodes[n%len(nodes)]
				for i := range 8 {
					if (i+n)%3 == 0 {
						do("", func() any { return readAll(t, d) })
						continue
					}
					txn := fmt.Sprintf("t%d", i)
					do(txn, func() any {
						first := false
						if err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
							if first, err = mailbox.Once(tx, network, alice, "SENDER", quinta.TxnID(txn)); err != nil || !first {
								return err
							}
							return mailbox.Put(tx, network, 0, quinta.Envelope{From: alice, To: bob, Device: "A", Body: []byte(txn)})
						}); err != nil {
							t.Error(err)
						}
						return first
					})
				}
			})
		})
	}
}

func readAll(t *testing.T, d *db.DB) string {
	var b strings.Builder
	if err := d.View(t.Context(), func(tx *db.Tx) error {
		page, _, err := mailbox.Read(tx, network, bob, "A", 0, 1000)
		for _, m := range page {
			b.WriteString(" " + string(m.Body))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	return b.String()
}
