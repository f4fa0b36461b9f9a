//go:build peers

package matrix_test

import (
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestEmojiInRoom: two people compare emoji in their room and trust each
// other's identity from then on, also on devices that come later.
func TestEmojiInRoom(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Direct: true})
		alice.Bootstrap()
		recovery := bob.Bootstrap()
		alice.UntilDevice(bob, true)
		bob.UntilDevice(alice, true)
		alice.Verify(bob, driver.Target{User: bob.User, Room: room}).Same()
		alice.UntilUserVerified(bob.User, true)
		bob.UntilUserVerified(alice.User, true)

		tablet := h.device("bob", "tablet")
		tablet.Unlock(recovery)
		alice.UntilDevice(tablet, true)
		tablet.UntilUserVerified(alice.User, true)
		says(t, room, tablet, "trusted from the first", alice, bob)
	})
}

// TestEmojiToDevice: the same between two devices, without a room.
func TestEmojiToDevice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		alice.Bootstrap()
		bob.Bootstrap()
		says(t, room, alice, "shall we?", bob)
		alice.UntilDevice(bob, true)
		bob.UntilDevice(alice, true)
		bob.Verify(alice, driver.Target{User: alice.User, Device: alice.ID}).Same()
		alice.UntilUserVerified(bob.User, true)
		bob.UntilUserVerified(alice.User, true)
	})
}

// TestEmojiDiffer: who says that the emoji differ ends it for both, and no one
// is trusted.
func TestEmojiDiffer(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Direct: true})
		alice.Bootstrap()
		bob.Bootstrap()
		alice.UntilDevice(bob, true)
		bob.UntilDevice(alice, true)
		a, b := alice.Verify(bob, driver.Target{User: bob.User, Room: room}).Different()
		if a != "m.mismatched_sas" || b != "m.mismatched_sas" {
			t.Errorf("got codes %q and %q, want m.mismatched_sas", a, b)
		}
		if s := alice.UserStatus(bob.User); s.Verified || !s.Known {
			t.Errorf("got %+v, want a known, unverified user", s)
		}
	})
}

// TestNewDeviceVerified: a new device is verified from the old one, which then
// hands it the private keys: it is signed, and reads what is in the backup.
func TestNewDeviceVerified(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		alice.Bootstrap()
		old := says(t, room, bob, "before the tablet", alice)
		alice.UntilBackedUp(1)

		tablet := h.device("alice", "tablet")
		alice.UntilDevice(tablet, false)
		tablet.UntilDevice(alice, true)
		tablet.Verify(alice, driver.Target{}).Same()
		bob.UntilDevice(tablet, true)
		if e := tablet.ReadID(room, old.ID); e.Body != "before the tablet" {
			t.Errorf("got %+v, want the text from before", e)
		}
		tablet.UntilPrivateKeys()
		if s := tablet.CrossSigning(); !s.Ready {
			t.Errorf("got %+v, want an identity that can be used", s)
		}
		says(t, room, tablet, "from the tablet", alice, bob)
	})
}

// TestIdentityReset: an identity that was verified and is replaced is not
// trusted any more, and the change is seen.
func TestIdentityReset(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Direct: true})
		alice.Bootstrap()
		bob.Bootstrap()
		alice.UntilDevice(bob, true)
		bob.UntilDevice(alice, true)
		alice.Verify(bob, driver.Target{User: bob.User, Room: room}).Same()
		alice.UntilUserVerified(bob.User, true)

		bob.ResetIdentity()
		alice.UntilUserVerified(bob.User, false)
		if s := alice.UserStatus(bob.User); !s.Was || !s.Changed {
			t.Errorf("got %+v, want an identity that was verified and has changed", s)
		}
	})
}

// TestBackup: keys that one device put into the backup make the history
// readable on a device that has only the recovery key.
func TestBackup(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Rotation: 2})
		recovery := alice.Bootstrap()
		var ids []driver.Event
		for _, body := range []string{"one", "two", "three", "four", "five"} {
			ids = append(ids, says(t, room, bob, body, alice))
		}
		mine := says(t, room, alice, "mine", bob)
		alice.UntilBackedUp(4)
		alice.Stop()

		tablet := h.device("alice", "tablet")
		if err := tablet.Try("restore", map[string]string{"recoveryKey": "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"}, nil); err == nil {
			t.Error("got no error for a recovery key of someone else")
		}
		tablet.Unlock(recovery)
		total, imported := tablet.Restore(recovery)
		if total < 4 || imported != total {
			t.Errorf("got %d of %d keys, want all of at least 4", imported, total)
		}
		for _, e := range append(ids, mine) {
			if got := tablet.ReadID(room, e.ID); got.Body != e.Body {
				t.Errorf("got %+v, want %q", got, e.Body)
			}
		}
	})
}

// TestDehydrated: while no device of Alice is there, one that lies on the
// server takes in the keys; her next device takes them over and reads.
func TestDehydrated(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		recovery := alice.Bootstrap()
		alice.Dehydrate()
		says(t, room, alice, "I am leaving", bob)
		alice.Logout()
		id := bob.SendText(room, "for when you are back")

		next := h.device("alice", "next")
		next.Unlock(recovery)
		if keys := next.Rehydrate(); keys < 1 {
			t.Errorf("got %d keys, want at least one", keys)
		}
		if e := next.ReadID(room, id); e.Body != "for when you are back" {
			t.Errorf("got %+v, want the text", e)
		}
		says(t, room, next, "I am back", bob)
	})
}
