//go:build peers

package matrix_test

import (
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestQuintaHasASecondDevice: a second device of either side reads what is
// said from then on; what was said before it says why it cannot be read, and
// can be read when the keys are brought over, in either direction.
func TestQuintaHasASecondDevice(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	mine := bob.writes(room, "bob before")
	hears(t, room, bob, mine, "bob before", alice)
	theirs := alice.SendText(room, "alice before")
	bob.holds(room, []string{"bob before", "alice before"})

	// Each has a second device of the other make.
	tablet := h.sits("login", "alice")
	desktop := h.device("bob", "desktop")
	desktop.Unlock(bob.recovery())
	if tablet.User != alice.User || desktop.User != bob.User {
		t.Fatalf("got %s and %s, want devices of %s and %s", tablet.User, desktop.User, alice.User, bob.User)
	}
	hears(t, room, bob, bob.writes(room, "from bob"), "from bob", alice, desktop)
	hears(t, room, tablet, tablet.writes(room, "from the tablet"), "from the tablet", alice, desktop)
	says(t, room, alice, "from alice", desktop)
	says(t, room, desktop, "from the desktop", alice)
	all := []string{"from bob", "from the tablet", "from alice", "from the desktop"}
	bob.holds(room, all)
	for _, l := range tablet.reads(room) {
		switch {
		case l.ID == mine || l.ID == theirs:
			if l.Type != "unreadable" || l.Reason == "" || l.Reason == "tampered" || l.Reason == "malformed" {
				t.Errorf("got %+v before the keys came, want why it cannot be read", l)
			}
		case l.Type != "message" || !slices.Contains(all, l.Text):
			t.Errorf("got %+v, want a message from after the login", l)
		}
	}

	// From quinta to the other make, and back, through files of keys that each
	// of them writes.
	bob.does("keys", "export", bob.file("keys.txt"))
	theFile, err := os.ReadFile(bob.file("keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	desktop.ImportFile(string(theFile), passphrase)
	for _, id := range []quinta.MessageID{mine, theirs} {
		if e := desktop.ReadID(room, id); e.Body != "bob before" && e.Body != "alice before" {
			t.Errorf("got %+v with the imported keys, want the text", e)
		}
	}
	if err := os.WriteFile(tablet.file("keys.txt"), []byte(alice.ExportFile(passphrase)), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := tablet.does("keys", "import", tablet.file("keys.txt")).last().Keys; n < 2 {
		t.Errorf("got %d keys imported, want both", n)
	}
	tablet.holds(room, append([]string{"bob before", "alice before"}, all...))
}

// TestQuintaIsSignedOut: a device that was signed out, by itself or by another
// device of its account, can do nothing any more and gets no further key.
func TestQuintaIsSignedOut(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	recovery := bob.recovery()
	laptop := h.sits("login", "bob").unlocks(recovery)
	desktop := h.device("bob", "desktop")
	desktop.Unlock(recovery)
	alice.UntilDevice(desktop, true)
	before := hears(t, room, bob, bob.writes(room, "to all"), "to all", alice, desktop)
	laptop.holds(room, []string{"to all"})

	bob.does("devices", "signout", string(desktop.ID))
	const whoami = "/_matrix/client/v3/account/whoami"
	if status := call(t, h.near, desktop, "GET", whoami, nil, nil); status != http.StatusUnauthorized {
		t.Errorf("got status %d with the token of the desktop, want 401", status)
	}
	after := hears(t, room, bob, bob.writes(room, "without the desktop"), "without the desktop", alice)
	if after.Session == before.Session {
		t.Error("the session did not change when a device that has its key was gone")
	}
	// The other make signs a device of quinta out.
	phone := h.device("bob", "phone")
	phone.DeleteDevice(laptop.ID)
	laptop.fails(4, "read", string(room))
	laptop.fails(4, "send", string(room), "may I?")
	if got := phone.Devices(); slices.Contains(got, laptop.ID) || !slices.Contains(got, bob.ID) {
		t.Errorf("got devices %q, want %s and not %s", got, bob.ID, laptop.ID)
	}
	says(t, room, alice, "to bob and his phone", phone)
	bob.holds(room, []string{"to all", "without the desktop", "to bob and his phone"})

	// And by itself: its home holds nothing of the account any more.
	bob.does("logout")
	if left, err := os.ReadDir(bob.file("accounts")); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v in the home after a logout, want nothing", left, err)
	}
	bob.fails(4, "rooms")
}
