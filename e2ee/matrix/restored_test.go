package matrix_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// TestRestored puts Bob's store back to an old copy. He seals nothing with
// what they had: neither the room's session nor Olm sessions; all devices learn
// of it, and both sides read each other at once.
func TestRestored(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	carol := s.login("@carol:x", "CAROL")
	s.hs.member("!r:x", "@carol:x", "join")
	turn(alice, bob, carol)
	for _, c := range []*client{alice, bob, carol} {
		c.says("!r:x", "hello")
		turn(alice, bob, carol)
	}
	old, sessions := bob.mem.clone(), map[string]bool{}
	for _, e := range bob.exported() {
		sessions[e.SessionID] = true
	}
	bob.says("!r:x", "forgotten")
	s.hs.member("!r:x", "@carol:x", "leave") // and so is what brings a new key
	turn(alice, bob)
	alice.says("!r:x", "to whom it may concern")
	turn(alice, bob)

	bob.mem = old
	bob.restart()
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.Restored(tx) })
	bob.take()
	alice.take()
	sealed := 0
	bob.see = func(r matrix.Req) bool {
		if strings.Contains(r.Path, "sendToDevice/m.room.encrypted") {
			sealed++
			if strings.Contains(string(r.Body), `"type":1,`) {
				t.Error("an old Olm session sealed again")
			}
		}
		return true
	}
	bob.says("!r:x", "here again")
	if sealed == 0 {
		t.Error("got no Olm messages, want the key and the word that sessions are new")
	}
	turn(alice, bob)
	alice.wantReads("@bob: here again")
	fresh := 0
	for _, e := range bob.exported() {
		if !sessions[e.SessionID] {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("got %d sessions that the old copy did not have, want the one that he made", fresh)
	}
	alice.says("!r:x", "welcome back")
	turn(bob)
	if got := bob.reads(); got[len(got)-1] != "@alice: welcome back" {
		t.Errorf("got %q, want the last one read", got)
	}
}
