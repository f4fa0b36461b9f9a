//go:build peers

package matrix_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// sitsWith makes Alice, a client of another make, and Bob, who has the program
// quinta, in an encrypted room that Alice made.
func (h *house) sitsWith(r driver.Room) (alice *driver.Device, bob *seat, room quinta.RoomID) {
	h.t.Helper()
	alice, bob = h.user("alice"), h.sits("register", "bob")
	r.Invite = append(r.Invite, bob.User)
	room = alice.CreateRoom(r)
	bob.enters(room, alice)
	return alice, bob, room
}

// enters accepts an invitation; seen is who is to see it.
func (s *seat) enters(room quinta.RoomID, seen *driver.Device) {
	s.t.Helper()
	s.does("join", string(room))
	seen.UntilMembership(room, s.User, "join")
}

// hears waits until each of to has the event, encrypted and with this text.
func hears(t *testing.T, room quinta.RoomID, from *seat, id quinta.MessageID, text string, to ...*driver.Device) driver.Event {
	t.Helper()
	var e driver.Event
	for _, d := range to {
		e = d.ReadID(room, id)
		if e.Body != text || e.Sender != from.User || e.Clear || e.Wire != "m.room.encrypted" || e.Algorithm != "m.megolm.v1.aes-sha2" {
			t.Fatalf("got %+v, want %q from %s, encrypted", e, clip(text), from.User)
		}
	}
	return e
}

// bursts sends texts out of one process without waiting between them, as a
// program with the SDK does; it may run beside the test.
func (s *seat) bursts(ctx context.Context, room quinta.RoomID, texts []string) (err error) {
	k, err := sqlite.KeyFile(s.file("key"), rand.Reader)
	if err != nil {
		return err
	}
	found, err := filepath.Glob(s.file("accounts/*/store.db"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("got stores %q, %v, want one", found, err)
	}
	st, err := sqlite.Open(found[0], k)
	if err != nil {
		return err
	}
	session, err := matrixclient.Network{}.Open(ctx, st, e2ee.Env{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	for _, text := range texts {
		if _, err := session.Send(ctx, room, client.Text(text)); err != nil {
			return err
		}
	}
	sent := 0
	err = session.Flush(ctx, func(e e2ee.Event) {
		if e.Kind == e2ee.EventSent {
			sent++
		}
	})
	if err == nil && sent != len(texts) {
		err = fmt.Errorf("%d of %d messages were sent", sent, len(texts))
	}
	return err
}

// longestOwn is the length of the longest text that quinta writes: an event
// that holds it is below its limit whatever else stands in it.
const longestOwn = 43_000

// numbered returns n texts.
func numbered(who string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s %02d", who, i))
	}
	return out
}

// TestQuintaSaysAndHears: whatever can be written arrives as it was written,
// both ways; what is too long is refused before it leaves; bursts keep their
// order.
func TestQuintaSaysAndHears(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Name: "garden"})
	texts := []string{
		"hello",
		"Grüße aus Quinta, ñandú, Ελλάδα, 日本語, \U0001F3E1\u200d\U0001F511, e\u0301, \u2028 and \u2029",
		"",
		"<b>&amp;\"quoted\"</b> \\u0041 \t\r\nx",
		strings.Repeat("0123456789", longest/10),
	}
	for _, text := range texts {
		// Of its own messages it wants the text a little shorter than others do.
		if text = text[:min(len(text), longestOwn)]; text != "" {
			hears(t, room, bob, bob.writes(room, text), text, alice)
		}
	}
	// Quinta writes nothing empty, but reads it.
	bob.fails(1, "send", string(room), "")
	// In a room that is named, the name does as well as the id.
	hears(t, room, bob, bob.does("send", "garden", "by name").last().ID, "by name", alice)
	tail := bob.tails()
	for _, text := range texts {
		got := tail.prints(alice.SendText(room, text))
		if got.Text != text || got.Sender != alice.User || got.Device != alice.ID || !got.Encrypted || got.Weakness != "" {
			t.Fatalf("got %q from %s, encrypted %v, weak %q, want %q", clip(got.Text), got.Sender, got.Encrypted, got.Weakness, clip(text))
		}
	}
	tail.kill9()

	if o := bob.runs(strings.NewReader(strings.Repeat("x", 64<<10)), "send", string(room), "-"); o.code != 1 || !strings.Contains(o.last().Error, "large") && !strings.Contains(o.last().Error, "long") {
		t.Errorf("got code %d, %q, want that it is too long", o.code, o.last().Error)
	}
	fromAlice, fromBob := numbered("alice", 60), numbered("bob", 60)
	alice.SendBurst(room, fromAlice)
	if err := bob.bursts(t.Context(), room, fromBob); err != nil {
		t.Fatal(err)
	}
	alice.ReadAll(room, fromBob)
	once(t, alice, room, fromBob)
	bob.holds(room, fromAlice, fromBob)
}

// most returns the largest number in [fits, not) for which try says true, of
// which fits is known to be one and not is known to be none.
func most(fits, not int, try func(n int) bool) int {
	for fits+1 < not {
		if n := (fits + not) / 2; try(n) {
			fits = n
		} else {
			not = n
		}
	}
	return fits
}

// TestQuintaLargest: of the largest text that fits into an event either side
// reads every byte; one byte more is refused by name, on either side, and
// nothing of it stays behind.
func TestQuintaLargest(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	mark := func(n int) string { return strings.Repeat("x", n-8) + fmt.Sprintf("%08d", n) }

	// The server bounds what the other make sends.
	n := most(longest, 64<<10, func(n int) bool {
		err := alice.Try("sendText", map[string]any{"room": room, "body": mark(n)}, nil)
		var e *driver.Error
		if err != nil && (!errors.As(err, &e) || e.Errcode != "M_TOO_LARGE") {
			t.Fatalf("%d bytes: got %v, want them sent or M_TOO_LARGE", n, err)
		}
		return err == nil
	})
	theirs := mark(n)
	// Quinta bounds what it sends itself, before it leaves.
	n = most(longestOwn, 64<<10, func(n int) bool {
		o := bob.runs(strings.NewReader(mark(n)+"\n"), "send", string(room), "-")
		if o.code != 0 && (o.code != 1 || !strings.Contains(o.last().Error, "too large")) {
			t.Fatalf("%d bytes: got code %d, %q, want them sent or too large", n, o.code, o.last().Error)
		}
		return o.code == 0
	})
	mine := mark(n)
	t.Logf("the largest text has %d bytes from matrix-js-sdk and %d from quinta", len(theirs), len(mine))
	bob.holds(room, []string{theirs}, []string{mine})
	alice.ReadAll(room, []string{theirs, mine})
	once(t, alice, room, []string{theirs, mine})
	for _, l := range bob.reads(room) {
		if len(l.Text) > max(len(theirs), len(mine)) {
			t.Errorf("bob holds a text of %d bytes, which was refused", len(l.Text))
		}
	}
	hears(t, room, bob, bob.writes(room, "and on"), "and on", alice)
}

// TestQuintaSendsFiles: files go sealed and come back as they were, both ways.
func TestQuintaSendsFiles(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	for i, size := range []int{0, 1, 2 << 20} {
		data := make([]byte, size)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("Fotografía %d.jpg", i)
		if err := os.WriteFile(bob.file(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		id := bob.does("send", string(room), "--file", bob.file(name)).last().ID
		if gotName, got := alice.ReadFile(room, id); gotName != name || !bytes.Equal(got, data) {
			t.Errorf("alice got %q with %d bytes, want %q with %d", gotName, len(got), name, size)
		}
		id, _ = alice.SendFile(room, name, data)
		out := bob.file(fmt.Sprintf("out %d", i))
		bob.does("fetch", string(room), string(id), "--out", out)
		got, err := os.ReadFile(out)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("bob got %d bytes, %v, want the file of %d", len(got), err, size)
		}
	}
}

// TestQuintaChangesTheKeyInTime: a session is used for as many messages as the
// room says; who comes later has a key from then on, and who was removed has
// none any more, on either side.
func TestQuintaChangesTheKeyInTime(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Rotation: 3})
	carol, dan := h.user("carol"), h.sits("register", "dan")
	sessions := map[string]int{}
	for _, text := range numbered("bob", 7) {
		sessions[hears(t, room, bob, bob.writes(room, text), text, alice).Session]++
	}
	if len(sessions) != 3 {
		t.Errorf("got messages by session %v, want a new one after every third message", sessions)
	}
	theirs := numbered("alice", 7)
	for _, text := range theirs {
		alice.SendText(room, text)
	}
	bob.holds(room, theirs)

	alice.Invite(room, carol.User)
	alice.Invite(room, dan.User)
	carol.Join(room)
	dan.enters(room, alice)
	before := hears(t, room, bob, bob.writes(room, "all four"), "all four", alice, carol)
	dan.holds(room, []string{"all four"})
	for _, l := range dan.reads(room) {
		if l.Text == theirs[0] {
			t.Errorf("dan reads %q, from before he was invited", l.Text)
		}
	}

	alice.Kick(room, carol.User)
	alice.Kick(room, dan.User)
	carol.UntilMembership(room, carol.User, "leave")
	after := hears(t, room, bob, bob.writes(room, "only two"), "only two", alice)
	if after.Session == before.Session {
		t.Error("the session did not change when members were removed")
	}
	last := alice.SendText(room, "yes, two")
	bob.holds(room, []string{"all four", "only two", "yes, two"})
	h.later(alice, carol)
	events, membership := carol.Timeline(room)
	for _, e := range events {
		if e.Body == "only two" || e.ID == after.ID {
			t.Errorf("carol holds %+v, which came after she was removed", e)
		}
	}
	if membership != "leave" {
		t.Errorf("got membership %q, want leave", membership)
	}
	for _, l := range dan.reads(room) {
		if l.ID == after.ID || l.ID == last {
			t.Errorf("dan holds %+v, which came after he was removed", l)
		}
	}
	if o := dan.runs(nil, "send", string(room), "let me in"); o.code == 0 {
		t.Error("dan could write into a room that he was removed from")
	}
}
