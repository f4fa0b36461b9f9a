//go:build peers

package peer_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/driver"
)

// TestQuintaIsKilledAndReadsOn: the programs of either side are killed in the
// middle of a conversation; nothing is lost, and nothing is shown twice.
func TestQuintaIsKilledAndReadsOn(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	var all []string
	shown := map[quinta.MessageID]int{}
	tail := bob.tails()
	for round := range 4 {
		texts := numbered(fmt.Sprintf("round %d", round), 12)
		done := make(chan error, 1)
		go func() {
			done <- alice.Try("sendBurst", map[string]any{"room": room, "bodies": texts}, nil)
		}()
		// It is killed while the rest are on their way.
		tail.until("a message", func(l said) bool { return l.Type == "message" && l.Text == texts[round*3] })
		tail.kill9()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, l := range tail.shown {
			if shown[l.ID]++; l.Type != "message" {
				t.Errorf("got %+v, want a message", l)
			}
		}
		all = append(all, texts...)
		tail = bob.tails()
	}
	last := alice.SendText(room, "the last")
	tail.prints(last)
	tail.kill9()
	for _, l := range tail.shown {
		shown[l.ID]++
	}
	for id, n := range shown {
		if n != 1 {
			t.Errorf("message %s was printed %d times, want once", id, n)
		}
	}
	bob.holds(room, append(all, "the last"))

	// The other side is killed while quinta writes.
	mine := []string{"one", "two"}
	bob.writes(room, "one")
	alice.Crash()
	bob.writes(room, "two")
	alice.Reopen("")
	hears(t, room, bob, bob.writes(room, "three"), "three", alice)
	mine = append(mine, "three")
	alice.ReadAll(room, mine)
	once(t, alice, room, mine)
}

// TestQuintaWasAway: a client that is away for a while, of either make, reads
// all that was said, in more than one page of messages and of keys.
func TestQuintaWasAway(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Rotation: 1})
	hears(t, room, bob, bob.writes(room, "see you"), "see you", alice)
	theirs := numbered("alice", 110)
	for _, text := range theirs {
		alice.SendText(room, text)
	}
	bob.holds(room, theirs)
	alice.Stop()
	mine := numbered("bob", 60)
	if err := bob.bursts(t.Context(), room, mine); err != nil {
		t.Fatal(err)
	}
	alice.Reopen("")
	alice.Scrollback(room)
	alice.ReadAll(room, mine)
	once(t, alice, room, mine)
}

// TestQuintaOutlivesItsServer: the server is killed while both sides write and
// comes back; they go on by themselves, and nothing is lost or doubled.
func TestQuintaOutlivesItsServer(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	hears(t, room, bob, bob.writes(room, "ready"), "ready", alice)
	carol := h.sits("register", "carol")
	alice.Invite(room, carol.User)
	carol.enters(room, alice)
	tail := carol.tails()
	tail.prints(alice.SendText(room, "welcome"))

	theirs, mine := numbered("alice", 8), numbered("bob", 8)
	done := make(chan error, 1)
	go func() {
		done <- alice.Try("sendBurst", map[string]any{"room": room, "bodies": theirs, "patient": true}, nil)
	}()
	sent := make(chan error, 1)
	go func() { sent <- bob.bursts(t.Context(), room, mine) }()
	tail.until("one of each", func(l said) bool { return slices.Contains(theirs, l.Text) || slices.Contains(mine, l.Text) })
	h.near.Kill9()
	tail.until("trouble", func(l said) bool { return l.Type == "trouble" })
	h.near.Restart()
	alice.Online()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	h.near.Stop()
	h.near.Restart()
	alice.Online()
	tail.prints(bob.writes(room, "the last"))
	tail.kill9()
	count := map[string]int{}
	for _, l := range tail.shown {
		count[l.Text]++
	}
	for _, text := range slices.Concat(theirs, mine) {
		if count[text] != 1 {
			t.Errorf("carol was shown %q %d times, want once", text, count[text])
		}
	}
	alice.ReadAll(room, append(mine, "the last"))
	once(t, alice, room, slices.Concat(theirs, mine))
	// What the other make sends again after an outage has no order of its own:
	// each of its texts is a list for itself.
	lists := [][]string{mine}
	for _, text := range theirs {
		lists = append(lists, []string{text})
	}
	bob.holds(room, lists...)
	carol.holds(room, lists...)
}
