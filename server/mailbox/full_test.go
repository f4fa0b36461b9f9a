package mailbox_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestCrowds: what is acknowledged or has expired does not count, and each
// sender and device counts for itself.
func TestCrowds(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		to := func(from quinta.UserID, device quinta.DeviceID, n, size int) []quinta.Envelope {
			envs := make([]quinta.Envelope, n)
			for i := range envs {
				envs[i] = quinta.Envelope{From: from, To: bob, Device: device, Type: "t", Body: make([]byte, size)}
			}
			return envs
		}
		update := func(fn func(*db.Tx) error) {
			t.Helper()
			if err := d.Update(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		crowds := func() string {
			t.Helper()
			var out []mailbox.Crowd
			if err := d.View(t.Context(), func(tx *db.Tx) (err error) {
				out, err = mailbox.Crowds(tx, 100)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			update(func(tx *db.Tx) error { return mailbox.SetFull(tx, out) })
			return fmt.Sprint(out)
		}
		full := func(from quinta.UserID, device quinta.DeviceID) (yes bool) {
			t.Helper()
			update(func(tx *db.Tx) error {
				f, err := mailbox.AskFull(tx, network, from)
				if err != nil {
					return err
				}
				yes, err = f.Any(to(from, device, 1, 1))
				return err
			})
			return yes
		}
		// put fills mailboxes in pieces, so that no write takes long.
		put := func(expires int64, envs []quinta.Envelope) {
			t.Helper()
			for piece := range slices.Chunk(envs, 500) {
				update(func(tx *db.Tx) error { return mailbox.Put(tx, network, expires, piece...) })
			}
		}
		const half = mailbox.MaxWaiting / 2
		put(0, to(alice, "A", half, 1))
		put(0, to(bob, "A", half+1, 1))
		put(0, to(alice, "B", half+1, 1))
		for range 5 {
			put(0, to(alice, "C", 13, 1<<20))
		}
		put(1, to(alice, "D", mailbox.MaxWaiting+1, 1)) // expired
		put(0, to(alice, "A", half, 1))
		var last quinta.Pos
		update(func(tx *db.Tx) (err error) { last, err = tx.Pos(); return err })
		if got, want := crowds(), "[{n @bob:hs1 C n @alice:hs1}]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		update(func(tx *db.Tx) error { return mailbox.Put(tx, network, 0, to(alice, "A", 1, 1)...) })
		if got, want := crowds(), "[{n @bob:hs1 A n @alice:hs1} {n @bob:hs1 C n @alice:hs1}]"; got != want {
			t.Errorf("one more: got %s, want %s", got, want)
		}
		if !full(alice, "A") || !full(alice, "C") || full(alice, "B") || full(bob, "A") {
			t.Error("the wrong ones are full")
		}
		// The removal of a device and what it has read make room.
		update(func(tx *db.Tx) error { return mailbox.Remove(tx, network, bob, "C") })
		if full(alice, "C") {
			t.Error("a removed device is full")
		}
		update(func(tx *db.Tx) error { return mailbox.Ack(tx, network, bob, "A", last) })
		if got := crowds(); got != "[]" || full(alice, "A") {
			t.Errorf("after reading: got %s, want none", got)
		}
	}, mailbox.Schema)
}
