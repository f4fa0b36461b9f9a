package feed_test

import (
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

func woken(w *feed.Waiter) bool {
	select {
	case <-w.C():
		return true
	default:
		return false
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "sqlite"))
	h := feed.NewHub(d)
	alice := h.Wait(feed.User(network, "@alice:hs1"), feed.Room(network, "!r"))
	bob := h.Wait(feed.User(network, "@bob:hs1"), feed.Room(network, "!r"))
	bump := func(keys ...string) {
		t.Helper()
		if err := d.Update(t.Context(), func(tx *db.Tx) error { feed.Bump(tx, keys...); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	bump(feed.User(network, "@alice:hs1"))
	if !woken(alice) || woken(bob) {
		t.Error("alice's key: want alice awake and bob asleep")
	}
	bump(feed.Room(network, "!r"), feed.Room(network, "!r"))
	if !woken(alice) || !woken(bob) || woken(alice) {
		t.Error("the room's key: want both awake, once")
	}
	bump(feed.Device(network, "@alice:hs1", "A"))
	if woken(alice) || woken(bob) {
		t.Error("a key that no one waits for woke someone")
	}
	alice.Close()
	bump(feed.Room(network, "!r"))
	if woken(alice) || !woken(bob) {
		t.Error("a closed waiter was woken, or the other was not")
	}
	bob.Close()
	if n := h.Waiting(); n != 0 {
		t.Errorf("got %d waiters, want none", n)
	}
}

func TestWakeOnOtherNode(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	a, b := stores.Open(t, cfg), stores.Open(t, cfg)
	w := feed.NewHub(b).Wait(feed.Room(network, "!r"))
	defer w.Close()
	if err := a.Update(t.Context(), func(tx *db.Tx) error { feed.Bump(tx, feed.Room(network, "!r")); return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.C():
	case <-time.After(time.Minute):
		t.Error("the waiter on the other node was not woken")
	}
}
