//go:build peers

package matrix_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// longest is the length of a text whose encrypted event is just below the 65536
// bytes that an event may have: base64 makes four bytes of three.
const longest = 47_000

// TestMessages: whatever can be written arrives as it was written, both ways.
func TestMessages(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		for _, body := range []string{
			"hello",
			"Grüße aus Quinta, ñandú, Ελλάδα, 日本語, \U0001F3E1\u200d\U0001F511, e\u0301, \u2028 and \u2029",
			"",
			"<b>&amp;\"quoted\"</b> \\u0041 \t\r\n",
			strings.Repeat("0123456789", longest/10),
		} {
			says(t, room, alice, body, bob)
			says(t, room, bob, body+" back", alice)
		}
		// What is too long is refused by name, and the conversation goes on.
		alice.Refused("M_TOO_LARGE", "sendText", map[string]any{"room": room, "body": strings.Repeat("x", 64<<10)})
		says(t, room, alice, "after the long one", bob)
		says(t, room, bob, "yes", alice)
	})
}

// TestBursts: many messages at once from both sides arrive each exactly once,
// those of one sender in his order.
func TestBursts(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		says(t, room, alice, "ready", bob)
		says(t, room, bob, "steady", alice)
		bodies := func(who string) []string {
			var b []string
			for i := range 40 {
				b = append(b, fmt.Sprintf("%s %02d", who, i))
			}
			return b
		}
		fromAlice, fromBob := bodies("alice"), bodies("bob")
		other := make(chan error, 1)
		go func() {
			other <- bob.Try("sendBurst", map[string]any{"room": room, "bodies": fromBob}, nil)
		}()
		alice.SendBurst(room, fromAlice)
		if err := <-other; err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(fromAlice, fromBob)
		for _, d := range []*driver.Device{alice, bob} {
			d.ReadAll(room, all)
			order := once(t, d, room, all)
			for _, who := range []string{"alice", "bob"} {
				of := slices.DeleteFunc(slices.Clone(order), func(b string) bool { return !strings.HasPrefix(b, who+" ") })
				if !slices.IsSorted(of) {
					t.Errorf("%s sees the messages of %s as %q, want them in order", d.User, who, of)
				}
			}
		}
	})
}

// TestRotation: a session is used for as many messages as the room says; each
// new one reaches everyone.
func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{Rotation: 3})
		var sessions []string
		for i := range 7 {
			e := says(t, room, alice, fmt.Sprintf("message %d", i), bob)
			sessions = append(sessions, e.Session)
		}
		distinct := slices.Compact(slices.Clone(sessions))
		if len(distinct) != 3 {
			t.Errorf("got sessions %q, want a new one after every third message", sessions)
		}
		// A member who leaves may have the key: the next message has another.
		before := says(t, room, alice, "with carol outside", bob).Session
		carol := h.user("carol")
		alice.Invite(room, carol.User)
		carol.Join(room)
		alice.UntilMembership(room, carol.User, "join")
		says(t, room, alice, "with carol", bob, carol)
		carol.Leave(room)
		alice.UntilMembership(room, carol.User, "leave")
		after := says(t, room, alice, "without carol", bob).Session
		if after == before {
			t.Error("the session did not change when a member left")
		}
	})
}

// TestFiles: files go sealed to the server and come back as they were.
func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, room := h.pair(driver.Room{})
		for _, size := range []int{1, 15, 2 << 20} {
			data := make([]byte, size)
			if _, err := rand.Read(data); err != nil {
				t.Fatal(err)
			}
			id, url := alice.SendFile(room, "Fotografía.jpg", data)
			name, got := bob.ReadFile(room, id)
			if name != "Fotografía.jpg" || !bytes.Equal(got, data) {
				t.Fatalf("got %q with %d bytes, want the file of %d bytes", name, len(got), size)
			}
			path := "/_matrix/client/v1/media/download/" + strings.TrimPrefix(url, "mxc://")
			if status := call(t, h.far, nil, "GET", path, nil, nil); status != http.StatusUnauthorized {
				t.Errorf("got status %d without a token, want 401", status)
			}
			stored := h.stored(bob, path)
			if len(stored) != size || (size > 1 && bytes.Equal(stored, data)) {
				t.Errorf("the server holds %d bytes, want %d sealed ones", len(stored), size)
			}
		}
		id, _ := bob.SendFile(room, "back.bin", []byte("small"))
		if _, got := alice.ReadFile(room, id); string(got) != "small" {
			t.Errorf("got %q, want the file", got)
		}
	})
}

// stored returns the bytes of a media file as the server gives them.
func (h *house) stored(d *driver.Device, path string) []byte {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.far.URL()+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("got status %d, %v", resp.StatusCode, err)
	}
	return b
}

// TestKick: a member who is removed reads no further, whatever the server or
// the others do; the rest continues.
func TestKick(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob, carol := h.user("alice"), h.user("bob"), h.user("carol")
		room := h.meet(driver.Room{}, alice, bob, carol)
		before := says(t, room, alice, "all three", bob, carol)
		alice.Kick(room, bob.User)
		bob.UntilMembership(room, bob.User, "leave")
		alice.UntilMembership(room, bob.User, "leave")
		after := says(t, room, alice, "only carol", carol)
		if after.Session == before.Session {
			t.Error("the session did not change when a member was removed")
		}
		says(t, room, carol, "yes, me", alice)

		h.later(alice, bob)
		events, membership := bob.Timeline(room)
		if membership != "leave" {
			t.Errorf("got membership %q, want leave", membership)
		}
		for _, e := range events {
			if e.ID == after.ID || e.Body == "only carol" {
				t.Errorf("bob holds %+v, which came after he was removed", e)
			}
		}
		path := "/_matrix/client/v3/rooms/" + string(room) + "/event/" + string(after.ID)
		if status := call(t, h.far, bob, "GET", path, nil, nil); status != http.StatusForbidden && status != http.StatusNotFound {
			t.Errorf("got status %d for an event after the removal, want a refusal", status)
		}
		bob.Refused("M_FORBIDDEN", "sendText", map[string]any{"room": room, "body": "let me in"})
	})
}

// TestBetweenInviteAndJoin: what is said between the invitation and the join
// can be read after the join.
func TestBetweenInviteAndJoin(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob := h.user("alice"), h.user("bob")
		room := alice.CreateRoom(driver.Room{Invite: []quinta.UserID{bob.User}})
		id := alice.SendText(room, "while you were deciding")
		bob.Join(room)
		if e := bob.ReadID(room, id); e.Body != "while you were deciding" {
			t.Errorf("got %+v, want the text", e)
		}
		says(t, room, bob, "I have decided", alice)
	})
}
