package matrix_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// TestListBeforeFirstSync has a device ask for its own user's devices before
// its first sync, and another device appear in between: no one tells of that,
// as a first sync lists no changes.
func TestListBeforeFirstSync(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	one := s.login("@bob:x", "ONE") // uploads and asks, and does not sync
	s.login("@bob:x", "TWO")
	one.sync()
	one.pump()
	one.wantDevices("@bob:x", "ONE", "TWO")
}

// TestKeyAgainAfterDummy loses the message that brought the key. When Bob says
// that one did not open, the next message brings the key again, in the same
// session, and what it then opens begins there.
func TestKeyAgainAfterDummy(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "lost")
	dev := s.hs.users["@bob:x"].devices["BOB"]
	for i := range dev.inbox {
		dev.inbox[i].raw = spoil(t, dev.inbox[i].raw)
	}
	turn(bob, alice) // Bob makes a new session and says so
	bob.wantReads("! no-key-yet")
	session := alice.exported()[0].SessionID
	alice.says("!r:x", "again")
	turn(bob)
	bob.wantReads("@alice: again")
	if got := alice.exported(); len(got) != 1 || got[0].SessionID != session {
		t.Errorf("got %d sessions, want the same one", len(got))
	}
	seen := alice.watch()
	alice.says("!r:x", "and on")
	if seen["m.room.encrypted"] != 0 {
		t.Errorf("got %v, want the key given again once", seen)
	}
	turn(bob)
	bob.wantReads("@alice: and on")
}

// TestRefusedShareCounts has the server refuse the message with the key, which
// it delivers all the same. The words wait, and are not tried without a pause.
// If the device goes meanwhile, it counts as having the key, and a new session
// begins.
func TestRefusedShareCounts(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	bob2 := s.login("@bob:x", "BOB2")
	turn(alice, bob, bob2)
	refusals := 0
	s.hs.refuse = func(r matrix.Req) string {
		if r.Kind != matrix.ReqToDevice {
			return ""
		}
		refusals++
		refuse := s.hs.refuse
		s.hs.refuse = nil
		s.hs.handle(alice.user, alice.device, r)
		s.hs.refuse = refuse
		return "M_FORBIDDEN"
	}
	alice.says("!r:x", "secret")
	turn(bob, bob2)
	bob.wantReads()
	if refusals != 2 {
		t.Errorf("got %d tries at once, want two", refusals)
	}
	s.hs.refuse = nil
	s.hs.logout("@bob:x", "BOB2")
	turn(alice)
	bob.wantReads()
	s.wait(time.Minute)
	turn(alice, bob)
	bob.wantReads("@alice: secret")
	for _, e := range s.hs.rooms["!r:x"].events {
		bob2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob2.m.Read(tx, "!r:x", []json.RawMessage{e.raw})
		})
	}
	for _, line := range bob2.reads() {
		if strings.Contains(line, "secret") {
			t.Error("a device that is gone reads on")
		}
	}
}

// TestEventTwice has a server bring one event twice, in two syncs: it counts
// once. A user who reads the history gets it as often as they look, and a message that
// was seen there first is still told of when it comes.
func TestEventTwice(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	room := s.hs.rooms["!r:x"]
	read := func(raw json.RawMessage) {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob.m.Read(tx, "!r:x", []json.RawMessage{raw})
		})
	}
	alice.says("!r:x", "once")
	event := room.events[len(room.events)-1].raw
	turn(bob)
	bob.wantReads("@alice: once")
	room.events = append(room.events, stamped{s.hs.next(), event})
	turn(bob)
	bob.wantReads()
	read(event)
	read(event)
	bob.wantReads("@alice: once", "@alice: once")

	alice.says("!r:x", "seen before it came")
	read(room.events[len(room.events)-1].raw)
	bob.wantReads("@alice: seen before it came")
	turn(bob)
	bob.wantReads("@alice: seen before it came")
	turn(bob)
	bob.wantReads()
}
