package matrix_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/key"
)

func (c *client) unsaved(limit int) []matrix.Backup {
	c.s.t.Helper()
	var out []matrix.Backup
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		out, err = c.m.Unsaved(tx, limit)
		return nil, err
	})
	return out
}

// TestBackup saves each session once, and a new device reads from the backup.
func TestBackup(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "one")
	bob.says("!r:x", "two")
	turn(alice, bob)
	if n := len(bob.unsaved(1)); n != 1 {
		t.Errorf("with a limit: got %d", n)
	}
	due := bob.unsaved(10)
	if len(due) != 2 {
		t.Fatalf("got %d unsaved sessions, want 2", len(due))
	}
	for _, b := range due {
		if own := b.Session.SenderKey == bob.curve().String(); b.Verified != own {
			t.Errorf("verified %v for own %v", b.Verified, own)
		}
	}
	private, err := key.NewAgreementPrivate[key.Backup]([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	server := map[string]keybackup.Entry{}
	for _, b := range due {
		if server[b.Session.SessionID], err = keybackup.Seal(s.env().Rand, private.Public(), b.Session, b.Verified); err != nil {
			t.Fatal(err)
		}
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.Saved(tx, due) })
	if n := len(bob.unsaved(10)); n != 0 {
		t.Errorf("after the backup: got %d unsaved", n)
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.SaveAgain(tx) })
	if n := len(bob.unsaved(10)); n != 2 {
		t.Errorf("for a new backup: got %d unsaved", n)
	}

	fresh := s.login("@bob:x", "BOB2")
	turn(fresh)
	fresh.take()
	fresh.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		waiting, err := fresh.m.Waiting(tx)
		if err != nil || len(waiting["!r:x"]) != 2 {
			t.Errorf("got waiting %v, %v", waiting, err)
		}
		var all []e2ee.Event
		for _, id := range waiting["!r:x"] {
			session, err := keybackup.Open(private, "!r:x", id, server[id].SessionData)
			if err != nil {
				return nil, err
			}
			_, events, err := fresh.m.Import(tx, []keybackup.Session{session})
			if err != nil {
				return nil, err
			}
			all = append(all, events...)
		}
		return all, nil
	})
	got := strings.Join(fresh.reads(), "\n")
	if !strings.Contains(got, "@alice: one (key-source)") || !strings.Contains(got, "@bob: two (key-source)") {
		t.Errorf("got %q", got)
	}
}

// TestSavedMeanwhileBetter has a session become better while it is saved.
func TestSavedMeanwhileBetter(t *testing.T) {
	t.Parallel()
	_, bob, eve := withEve(t)
	m := eve.session("!r:x")
	early := m.key()
	m.event("!r:x", "skipped")
	eve.sends(bob, "m.room_key", m.key(), nil)
	turn(bob)
	due := bob.unsaved(10)
	eve.sends(bob, "m.room_key", early, nil)
	turn(bob)
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.Saved(tx, due) })
	if n := len(bob.unsaved(10)); n != 1 {
		t.Errorf("got %d unsaved, want the better one", n)
	}
}

// TestOwnKeysOnServer has the server forget this device's keys, and list
// others.
func TestOwnKeysOnServer(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	dev := s.hs.users["@alice:x"].devices["ALICE"]
	good := dev.keys
	dev.keys = nil
	s.hs.users["@alice:x"].changed = s.hs.next()
	turn(alice)
	if string(dev.keys) != string(good) {
		t.Errorf("the keys were not uploaded again: %s", dev.keys)
	}
	alice.take()
	dev.keys = forgeDevice(t, s, "@alice:x", "ALICE")
	s.hs.users["@alice:x"].changed = s.hs.next()
	turn(alice)
	loud := 0
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventKeyChanged && e.Device == "ALICE" {
			loud++
		}
	}
	if err := alice.trySend("!r:x", "no"); err != matrix.ErrOtherDevice || loud == 0 {
		t.Errorf("got %v and %d events", err, loud)
	}
	dev.keys = good
	s.hs.users["@alice:x"].changed = s.hs.next()
	turn(alice, bob)
	bob.take()
	alice.says("!r:x", "again")
	turn(bob)
	bob.wantReads("@alice: again")
}

// TestOddIDs gives ids that would reach into other places of the store.
func TestOddIDs(t *testing.T) {
	t.Parallel()
	_, bob, eve := withEve(t)
	for _, room := range []quinta.RoomID{"!r:x\x00", "", quinta.RoomID("!" + strings.Repeat("x", 300))} {
		k := eve.session("!r:x").key()
		k["room_id"] = room
		eve.sends(bob, "m.room_key", k, nil)
	}
	turn(bob)
	for _, room := range []quinta.RoomID{"!r:x\x00", "", "..", "no", quinta.RoomID("!" + strings.Repeat("x", 300))} {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob.m.Receive(tx, matrix.In{NextBatch: "1", Rooms: []matrix.InRoom{{ID: room}}})
		})
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		rooms, err := bob.m.Rooms(tx)
		if len(rooms) != 1 {
			t.Errorf("got rooms %q", rooms)
		}
		return nil, err
	})
	if got := bob.exported(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
