//go:build peers

package matrix_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestLaterDevice: a device that joins later reads what is said from then on;
// what was said before it tells apart by its reason, and can be read when the
// keys are brought over.
func TestLaterDevice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		old := says(t, room, alice, "before the tablet", bob)

		tablet := h.device("bob", "tablet")
		alice.UntilDevice(tablet, false)
		bob.UntilDevice(tablet, false)
		says(t, room, alice, "to both", bob, tablet)
		says(t, room, bob, "from the phone", alice, tablet)
		says(t, room, tablet, "from the tablet", alice, bob)

		tablet.Unreadable(room, old.ID, "HISTORICAL_MESSAGE_NO_KEY_BACKUP")
		tablet.ImportKeys(bob.ExportKeys())
		if e := tablet.ReadID(room, old.ID); e.Body != "before the tablet" {
			t.Errorf("got %+v with the imported key, want the text", e)
		}
	})
}

// TestDeviceGone: a deleted device and one that logged out are gone for
// everyone, can do nothing any more, and get no further key.
func TestDeviceGone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		tablet := h.device("bob", "tablet")
		desktop := h.device("bob", "desktop")
		alice.UntilDevice(tablet, false)
		alice.UntilDevice(desktop, false)
		before := says(t, room, alice, "to all three", bob, tablet, desktop)

		bob.DeleteDevice(tablet.ID)
		desktop.Logout()
		const whoami = "/_matrix/client/v3/account/whoami"
		for _, d := range []*driver.Device{tablet, desktop} {
			var e struct{ Errcode string }
			if status := call(t, h.near, d, "GET", whoami, nil, &e); status != http.StatusUnauthorized || e.Errcode != "M_UNKNOWN_TOKEN" {
				t.Errorf("got %d %s with the token of %s, want 401 M_UNKNOWN_TOKEN", status, e.Errcode, d.ID)
			}
		}
		if got := bob.Devices(); !slices.Equal(got, []quinta.DeviceID{bob.ID}) {
			t.Errorf("got devices %q, want only %q", got, bob.ID)
		}
		alice.UntilKnown(bob.User, bob.ID)
		after := says(t, room, alice, "to one", bob)
		if after.Session == before.Session {
			t.Error("the session did not change when a device that has its key was gone")
		}
	})
}

// TestUnsignedDevice: who sends only to devices that their owners have signed
// says so to the others, and an unsigned device knows why it cannot read.
func TestUnsignedDevice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		alice.Bootstrap()
		bob.Bootstrap()
		alice.UntilDevice(bob, true)
		tablet := h.device("bob", "tablet")
		alice.UntilDevice(tablet, false)
		alice.Isolate(true)
		e := says(t, room, alice, "only to signed devices", bob)
		tablet.Unreadable(room, e.ID, "MEGOLM_KEY_WITHHELD_FOR_UNVERIFIED_DEVICE")
	})
}

// TestOffline: a client that is away for a while reads all that was said, in
// more than one page of the room's history and of its own messages.
func TestOffline(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		says(t, room, alice, "see you", bob)
		bob.Stop()
		var said []string
		// Each session's key is a message to bob's device; a hundred of them
		// fill one answer of /sync.
		for i := range 115 {
			alice.DiscardSession(room)
			body := "message " + string(rune('A'+i/26)) + string(rune('a'+i%26))
			alice.SendText(room, body)
			said = append(said, body)
		}
		bob.Reopen("")
		bob.Scrollback(room)
		bob.ReadAll(room, said)
		once(t, bob, room, said)
		says(t, room, bob, "I am back", alice)
	})
}

// TestSharedHistory: someone who is invited into a room whose history is
// shared gets its keys from the one who invites, and reads what was said
// before.
func TestSharedHistory(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Visibility: "shared"})
		carol := h.user("carol")
		alice.Bootstrap()
		carol.Bootstrap()
		old := says(t, room, alice, "before carol", bob)
		older := says(t, room, bob, "also before carol", alice)
		h.meet(driver.Room{}, alice, carol) // so that they know each other's devices
		alice.UntilDevice(carol, true)
		carol.UntilDevice(alice, true)
		alice.Invite(room, carol.User)
		carol.Join(room)
		for _, e := range []driver.Event{old, older} {
			if got := carol.ReadID(room, e.ID); got.Body != e.Body {
				t.Errorf("got %+v, want %q", got, e.Body)
			}
		}
		says(t, room, carol, "I have read all of it", alice, bob)
	})
}
