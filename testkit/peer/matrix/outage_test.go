//go:build peers

package matrix_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestServerKilled: the server is killed in the middle of a conversation and
// comes back; the clients continue by themselves and nothing is lost or
// doubled.
func TestServerKilled(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		says(t, room, alice, "hello", bob)
		says(t, room, bob, "hello", alice)
		var all []string
		for round := range 2 {
			var fromAlice, fromBob []string
			for i := range 8 {
				fromAlice = append(fromAlice, fmt.Sprintf("alice %d.%d", round, i))
				fromBob = append(fromBob, fmt.Sprintf("bob %d.%d", round, i))
			}
			done := make(chan error, 2)
			send := func(d *driver.Device, bodies []string) {
				done <- d.Try("sendBurst", map[string]any{"room": room, "bodies": bodies, "patient": true}, nil)
			}
			go send(alice, fromAlice)
			go send(bob, fromBob)
			// The first message of each is through: the rest are on their way.
			bob.ReadAll(room, fromAlice[:1])
			alice.ReadAll(room, fromBob[:1])
			h.near.Kill9()
			if h.far != h.near {
				h.far.Kill9()
				h.far.Restart()
			}
			h.near.Restart()
			// The first time they find out by themselves, the second time they
			// are told that the network is back.
			if round > 0 {
				alice.Online()
				bob.Online()
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			all = slices.Concat(all, fromAlice, fromBob)
		}
		for _, d := range []*driver.Device{alice, bob} {
			d.ReadAll(room, all)
			once(t, d, room, all)
		}
		says(t, room, alice, "still here", bob)
		says(t, room, bob, "me too", alice)
	})
}

// TestClientKilled: a client that is killed without saving where it was reads
// on where it left off, with nothing lost or doubled.
func TestClientKilled(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		says(t, room, alice, "one", bob)
		says(t, room, bob, "two", alice)
		bob.Crash()
		alice.SendText(room, "three")
		bob.Reopen("")
		says(t, room, alice, "four", bob)
		said := []string{"one", "two", "three", "four"}
		bob.ReadAll(room, said)
		once(t, bob, room, said)
		says(t, room, bob, "five", alice)
	})
}

// TestOtherNode: a client that comes back on another node of its server goes
// on with the token that it has.
func TestOtherNode(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		says(t, room, alice, "on my node", bob)
		alice.Stop()
		bob.SendText(room, "while you moved")
		alice.Reopen(h.far.URL())
		alice.Read(room, "while you moved")
		says(t, room, alice, "on the other node", bob)
		says(t, room, bob, "I see you", alice)
	})
}
