//go:build peers

package matrix_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/mautrix"
)

// mixed makes Alice with matrix-js-sdk and Bob with mautrix-go.
func (h *house) mixed() (alice, bob *driver.Device, goPeer *driver.Process) {
	h.t.Helper()
	goPeer = mautrix.Start(h.t)
	alice = h.user("alice")
	bob = goPeer.Register(h.t, "bob", h.account("bob")).Start()
	return alice, bob, goPeer
}

// TestTwoMakes: clients of two makes talk on our server, in a room of each.
func TestTwoMakes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, _ := h.mixed()
		for _, room := range []struct{ first, second *driver.Device }{{alice, bob}, {bob, alice}} {
			id := h.meet(driver.Room{Rotation: 3}, room.first, room.second)
			for i, body := range []string{"hello", "Grüße, ñandú, 日本語 \U0001F3E1", "", strings.Repeat("0123456789", longest/10), "after the rotation"} {
				says(t, id, alice, body, bob)
				says(t, id, bob, fmt.Sprintf("%s back %d", body, i), alice)
			}
			data := bytes.Repeat([]byte("sealed "), 30_000)
			file, _ := bob.SendFile(id, "from-go.bin", data)
			if name, got := alice.ReadFile(id, file); name != "from-go.bin" || !bytes.Equal(got, data) {
				t.Errorf("alice got %q with %d bytes, want the file", name, len(got))
			}
			file, _ = alice.SendFile(id, "from-js.bin", data)
			if name, got := bob.ReadFile(id, file); name != "from-js.bin" || !bytes.Equal(got, data) {
				t.Errorf("bob got %q with %d bytes, want the file", name, len(got))
			}
		}
	})
}

// TestTwoMakesBurst: many messages at once between the two.
func TestTwoMakesBurst(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, _ := h.mixed()
		room := h.meet(driver.Room{Rotation: 10}, alice, bob)
		var fromAlice, fromBob []string
		for i := range 25 {
			fromAlice = append(fromAlice, fmt.Sprintf("alice %02d", i))
			fromBob = append(fromBob, fmt.Sprintf("bob %02d", i))
		}
		other := make(chan error, 1)
		go func() { other <- bob.Try("sendBurst", map[string]any{"room": room, "bodies": fromBob}, nil) }()
		alice.SendBurst(room, fromAlice)
		if err := <-other; err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(fromAlice, fromBob)
		for _, d := range []*driver.Device{alice, bob} {
			d.ReadAll(room, all)
			once(t, d, room, all)
		}
	})
}

// TestTwoMakesVerify: the two compare emoji to-device, asked by either side.
func TestTwoMakesVerify(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, goPeer := h.mixed()
		room := h.meet(driver.Room{}, alice, bob)
		alice.Bootstrap()
		bob.Bootstrap()
		alice.UntilDevice(bob, true)
		bob.UntilDevice(alice, true)
		says(t, room, alice, "shall we?", bob)
		alice.Verify(bob, driver.Target{User: bob.User, Device: bob.ID}).Same()
		alice.UntilUserVerified(bob.User, true)
		bob.UntilUserVerified(alice.User, true)

		carol := goPeer.Register(t, "carol", h.account("carol")).Start()
		carol.Bootstrap()
		meet := h.meet(driver.Room{}, carol, alice)
		says(t, meet, carol, "and we?", alice)
		alice.UntilDevice(carol, true)
		carol.UntilDevice(alice, true)
		carol.Verify(alice, driver.Target{User: alice.User}).Same()
		alice.UntilUserVerified(carol.User, true)
		carol.UntilUserVerified(alice.User, true)
	})
}

// TestTwoMakesOneUser: one account has a device of each make; the second takes
// the identity from secret storage and the history from the backup.
func TestTwoMakesOneUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, goPeer := h.mixed()
		room := h.meet(driver.Room{}, alice, bob)
		recovery := alice.Bootstrap()
		old := says(t, room, bob, "before the second device", alice)
		alice.UntilBackedUp(1)

		second := goPeer.Login(t, "second", h.account("alice")).Start()
		second.Unlock(recovery)
		bob.UntilDevice(second, true)
		if total, imported := second.Restore(recovery); total < 1 || imported < 1 {
			t.Errorf("got %d of %d keys, want at least one", imported, total)
		}
		second.Scrollback(room)
		if e := second.ReadID(room, old.ID); e.Body != old.Body {
			t.Errorf("got %+v, want %q", e, old.Body)
		}
		alice.UntilDevice(second, true)
		says(t, room, bob, "to both of you", alice, second)
		says(t, room, second, "from the second", alice, bob)
	})
}

// TestTwoMakesKick: a removed client of the other make reads no further.
func TestTwoMakesKick(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, goPeer := h.mixed()
		carol := goPeer.Register(t, "carol", h.account("carol")).Start()
		room := h.meet(driver.Room{}, alice, bob, carol)
		before := says(t, room, alice, "all three", bob, carol)
		alice.Kick(room, bob.User)
		for _, d := range []*driver.Device{alice, bob} {
			d.UntilMembership(room, bob.User, "leave")
		}
		carol.UntilMembership(room, bob.User, "leave")
		after := says(t, room, alice, "two of us", carol)
		if after.Session == before.Session {
			t.Error("the session did not change when a member was removed")
		}
		answer := says(t, room, carol, "just two", alice)
		h.later(alice, bob)
		events, _ := bob.Timeline(room)
		for _, e := range events {
			if e.ID == after.ID || e.ID == answer.ID {
				t.Errorf("bob holds %+v, which came after he was removed", e)
			}
		}
		bob.Refused("M_FORBIDDEN", "sendText", map[string]any{"room": room, "body": "let me in"})
	})
}
