package matrix_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/olm"
)

// sessions returns the session ids and indices of the encrypted events of a
// room, as far as they are in clear.
func (s *stage) sessions(room quinta.RoomID) []string {
	var out []string
	for _, e := range s.hs.rooms[room].events {
		var ev struct {
			Type    string
			Content struct {
				Session string `json:"session_id"`
			}
		}
		if json.Unmarshal(e.raw, &ev) == nil && ev.Type == "m.room.encrypted" {
			out = append(out, ev.Content.Session)
		}
	}
	return out
}

// distinct counts the different sessions of a room.
func (s *stage) distinct(room quinta.RoomID) int {
	ids := s.sessions(room)
	slices.Sort(ids)
	return len(slices.Compact(ids))
}

// TestKeyBeforeMessage cuts the line after each request: the message never
// leaves before every part of the key was answered.
func TestKeyBeforeMessage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.login("@alice:x", "ALICE")
	members := []quinta.UserID{"@alice:x"}
	for i := range 25 {
		for d := range 10 {
			s.forgeWithKeys(quinta.UserID(fmt.Sprintf("@u%d:x", i)), quinta.DeviceID(fmt.Sprintf("D%d", d)))
		}
		members = append(members, quinta.UserID(fmt.Sprintf("@u%d:x", i)))
	}
	s.hs.create("!r:x", members...)
	turn(alice)
	var order []string
	unanswered := 0
	alice.see = func(r matrix.Req) bool {
		order = append(order, string(r.Kind))
		if r.Kind == matrix.ReqToDevice {
			if unanswered++; unanswered <= 2 {
				return false // lost; it is due again
			}
		}
		if r.Kind == matrix.ReqRoomSend && unanswered < 5 {
			t.Errorf("the message left after %d requests with keys: %v", unanswered, order)
		}
		return true
	}
	alice.says("!r:x", "hello")
	alice.says("!r:x", "again")
	got := strings.Join(slices.Compact(order), " ")
	if want := "members keys-claim to-device room-send"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(s.sessions("!r:x")); n != 2 || s.distinct("!r:x") != 1 {
		t.Errorf("got %d messages in %d sessions", n, s.distinct("!r:x"))
	}
	for key, n := range s.hs.claims {
		if n != 1 {
			t.Errorf("the one-time key %s was claimed %d times", key, n)
		}
	}
	if len(s.hs.claims) != 250 {
		t.Errorf("got %d claims, want 250", len(s.hs.claims))
	}
}

// forgeWithKeys logs in a device with one one-time key.
func (s *stage) forgeWithKeys(u quinta.UserID, d quinta.DeviceID) *forger {
	s.t.Helper()
	f := s.forge(u, d)
	f.publish(1)
	return f
}

// TestRotation lists what makes a new session.
func TestRotation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(s *stage, alice, bob *client)
		want   int
	}{
		{"nothing", func(*stage, *client, *client) {}, 1},
		{"a restart", func(_ *stage, alice, _ *client) { alice.restart() }, 1},
		{"a week", func(s *stage, _, _ *client) { s.wait(7 * 24 * time.Hour) }, 2},
		{"less than a week", func(s *stage, _, _ *client) { s.wait(7*24*time.Hour - time.Minute) }, 1},
		{"99 messages", func(_ *stage, alice, _ *client) {
			for range 99 {
				alice.send("!r:x", "more")
			}
			alice.pump()
		}, 2},
		{"98 messages", func(_ *stage, alice, _ *client) {
			for range 98 {
				alice.send("!r:x", "more")
			}
			alice.pump()
		}, 1},
		{"a member leaves", func(s *stage, alice, _ *client) { s.hs.member("!r:x", "@carol:x", "leave"); turn(alice) }, 2},
		{"a member is banned", func(s *stage, alice, _ *client) { s.hs.member("!r:x", "@carol:x", "ban"); turn(alice) }, 2},
		{"a member leaves and comes back unseen", func(s *stage, alice, _ *client) {
			s.hs.member("!r:x", "@carol:x", "leave")
			s.hs.member("!r:x", "@carol:x", "join")
			turn(alice)
		}, 2},
		{"a member joins", func(s *stage, alice, _ *client) {
			s.login("@dave:x", "DAVE")
			s.hs.member("!r:x", "@dave:x", "join")
			turn(alice)
		}, 1},
		{"a device comes", func(s *stage, alice, _ *client) { s.login("@bob:x", "BOB2"); turn(alice) }, 1},
		{"a device goes", func(s *stage, alice, _ *client) { s.hs.logout("@carol:x", "CAROL"); turn(alice) }, 2},
		{"a device is rejected", func(_ *stage, alice, bob *client) { alice.decide(bob, matrix.Reject) }, 2},
		{"a device is accepted", func(_ *stage, alice, bob *client) { alice.decide(bob, matrix.Accept) }, 1},
		{"history is hidden", func(s *stage, alice, _ *client) {
			empty := ""
			s.hs.event("!r:x", "@admin:x", "m.room.history_visibility", &empty, map[string]string{"history_visibility": "joined"})
			turn(alice)
		}, 2},
		{"the user asks for it", func(_ *stage, alice, _ *client) {
			alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Rotate(tx, "!r:x") })
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, alice, bob := pair(t)
			s.login("@carol:x", "CAROL")
			s.hs.member("!r:x", "@carol:x", "join")
			turn(alice)
			alice.says("!r:x", "one")
			c.change(s, alice, bob)
			alice.says("!r:x", "two")
			if got := s.distinct("!r:x"); got != c.want {
				t.Errorf("got %d sessions, want %d", got, c.want)
			}
		})
	}
}

// decide stores a decision on another client's device.
func (c *client) decide(other *client, d matrix.Decision) {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return c.m.Decide(tx, other.user, other.device, other.identity(), d)
	})
}

// TestNewDeviceGetsLaterMessages adds a device between two messages.
func TestNewDeviceGetsLaterMessages(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	alice.says("!r:x", "one")
	s.wait(time.Second)
	bob2 := s.login("@bob:x", "BOB2")
	turn(alice, bob2)
	alice.says("!r:x", "two")
	turn(bob2)
	bob2.wantReads("! before-this-device", "@alice: two")
}

// TestWhoLeftGetsNothing reads with the store of someone who left.
func TestWhoLeftGetsNothing(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "one")
	turn(bob)
	s.hs.member("!r:x", "@bob:x", "leave")
	turn(alice, bob)
	bob.take()
	alice.says("!r:x", "two")
	ev := s.hs.rooms["!r:x"].events
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Read(tx, "!r:x", []json.RawMessage{ev[len(ev)-1].raw})
	})
	bob.wantReads("! no-key-yet")
}

// TestNeverInClear has a room become encrypted while a message waits.
func TestNeverInClear(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.login("@alice:x", "ALICE"), s.login("@bob:x", "BOB")
	if err := alice.trySend("!r:x", "nowhere"); !errors.Is(err, matrix.ErrUnknownRoom) {
		t.Errorf("an unknown room: got %v", err)
	}
	s.hs.createPlain("!r:x", "@alice:x", "@bob:x")
	turn(alice, bob)
	alice.send("!r:x", "waits")
	alice.outgoing() // it is a request now, and has not left
	s.hs.encrypt("!r:x", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	turn(alice, bob)
	bob.wantReads("@alice: waits")
	if len(s.hs.dupClear) != 0 {
		t.Errorf("in clear: %q", s.hs.dupClear)
	}
	s.hs.createPlain("!odd:x", "@alice:x", "@bob:x")
	s.hs.encrypt("!odd:x", map[string]any{"algorithm": "m.rot13"})
	turn(alice)
	if err := alice.trySend("!odd:x", "no"); !errors.Is(err, matrix.ErrUnsupportedRoom) {
		t.Errorf("an unknown algorithm: got %v, want ErrUnsupportedRoom", err)
	}
}

// TestAttack25EncryptionWeakened sends state events that would switch
// encryption off, or make one session last for ever, and a message in clear.
func TestAttack25EncryptionWeakened(t *testing.T) {
	t.Parallel()
	for _, content := range []map[string]any{
		{}, {"algorithm": ""}, {"algorithm": "m.rot13"}, {"algorithm": 7},
		{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": int64(1) << 40, "rotation_period_ms": int64(1) << 50},
		{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": -1, "rotation_period_ms": -1},
	} {
		s, alice, bob := pair(t)
		s.hs.encrypt("!r:x", content)
		turn(alice, bob)
		for range 101 {
			alice.send("!r:x", "hello")
		}
		alice.pump()
		if s.distinct("!r:x") != 2 || len(s.hs.dupClear) != 0 {
			t.Errorf("%v: got %d sessions, in clear %q", content, s.distinct("!r:x"), s.hs.dupClear)
		}
		s.hs.event("!r:x", "@alice:x", "m.room.message", nil, map[string]string{"msgtype": "m.text", "body": "clear"})
		turn(bob)
		if got := bob.reads(); len(got) == 0 || got[len(got)-1] != "@alice: clear (plain)" {
			t.Errorf("%v: a message in clear is not marked: %q", content, got[max(0, len(got)-1):])
		}
	}
	s := newStage(t)
	alice := s.login("@alice:x", "ALICE")
	s.hs.createPlain("!long:x", "@alice:x")
	s.hs.encrypt("!long:x", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": int64(1) << 50})
	turn(alice)
	alice.says("!long:x", "one")
	s.wait(31 * 24 * time.Hour)
	alice.says("!long:x", "two")
	if got := s.distinct("!long:x"); got != 2 {
		t.Errorf("a room that never wants to rotate: got %d sessions in a month", got)
	}
	s.hs.createPlain("!r:x", "@alice:x")
	s.hs.encrypt("!r:x", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 3})
	turn(alice)
	for range 7 {
		alice.send("!r:x", "hello")
	}
	alice.pump()
	if got := s.distinct("!r:x"); got != 3 {
		t.Errorf("a room that wants 3 messages per session: got %d sessions for 7", got)
	}
}

// TestRotationBounds: what a room asks for is followed within bounds: a session
// serves at most ten thousand messages and at most thirty days, and at least a
// minute.
func TestRotationBounds(t *testing.T) {
	t.Parallel()
	const never = 1 << 50
	open := func(msgs, ms int64) (*stage, *client) {
		s := newStage(t)
		alice := s.login("@alice:x", "ALICE")
		s.hs.createPlain("!r:x", "@alice:x")
		s.hs.encrypt("!r:x", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": msgs, "rotation_period_ms": ms})
		turn(alice)
		alice.says("!r:x", "the first")
		return s, alice
	}
	for _, c := range []struct {
		asked, most time.Duration
	}{
		{time.Hour, time.Hour},
		{time.Second, time.Minute},
		{20 * 24 * time.Hour, 20 * 24 * time.Hour},
		{365 * 24 * time.Hour, 30 * 24 * time.Hour},
	} {
		s, alice := open(never, c.asked.Milliseconds())
		s.wait(c.most - time.Millisecond)
		alice.says("!r:x", "just before")
		if got := s.distinct("!r:x"); got != 1 {
			t.Errorf("asked for %s: got %d sessions before %s", c.asked, got, c.most)
		}
		s.wait(time.Millisecond)
		alice.says("!r:x", "just after")
		if got := s.distinct("!r:x"); got != 2 {
			t.Errorf("asked for %s: got %d sessions after %s, want a new one", c.asked, got, c.most)
		}
	}

	const most = 10_000
	s, alice := open(never, never)
	alice.counts("!r:x", most-1)
	alice.says("!r:x", "the last of its session")
	if got := s.distinct("!r:x"); got != 1 {
		t.Errorf("got %d sessions for %d messages, want one", got, most)
	}
	alice.says("!r:x", "one too many")
	if got := s.distinct("!r:x"); got != 2 {
		t.Errorf("got %d sessions for %d messages, want a new one", got, most+1)
	}
}

// counts makes a room's session one with which n messages were sent.
func (c *client) counts(room quinta.RoomID, n int) {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		raw, err := tx.Get("out/" + string(room))
		if err != nil {
			return nil, err
		}
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil || string(o["count"]) != "1" {
			return nil, fmt.Errorf("got a session of %s messages, %v, want one", o["count"], err)
		}
		o["count"] = mustJSON(n)
		return nil, tx.Put("out/"+string(room), mustJSON(o))
	})
}

// TestNoOneTimeKeys has a device without one-time keys: it is told once, and
// gets later keys.
func TestNoOneTimeKeys(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	carol := s.forge("@carol:x", "CAROL")
	s.hs.member("!r:x", "@carol:x", "join")
	turn(alice, bob)
	bob.take()
	alice.says("!r:x", "one")
	alice.says("!r:x", "two")
	turn(bob)
	bob.wantReads("@alice: one", "@alice: two")
	codes := s.withheldTo(t, "@carol:x", "CAROL")
	if len(codes) != 1 || codes[0] != "m.no_olm" {
		t.Errorf("got %v, want m.no_olm once", codes)
	}
	carol.publish(1)
	s.wait(10 * time.Minute)
	alice.says("!r:x", "three")
	if len(s.hs.claims) != 2 {
		t.Errorf("got %d claims, want Carol's key claimed", len(s.hs.claims))
	}
}

// withheldTo returns the codes that a device was told.
func (s *stage) withheldTo(t *testing.T, u quinta.UserID, d quinta.DeviceID) []string {
	t.Helper()
	var out []string
	for _, m := range s.hs.users[u].devices[d].inbox {
		var e struct {
			Type    string
			Content struct{ Code string }
		}
		if err := json.Unmarshal(m.raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type == "m.room_key.withheld" {
			out = append(out, e.Content.Code)
		}
	}
	return out
}

// TestRefusedShare has the server refuse the key: no one counts as having it.
func TestRefusedShare(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	refused := 0
	s.hs.refuse = func(r matrix.Req) string {
		if r.Kind == matrix.ReqToDevice && refused == 0 {
			refused++
			return "M_TOO_LARGE"
		}
		return ""
	}
	alice.says("!r:x", "one")
	turn(bob)
	bob.wantReads("@alice: one") // the key was made again before the message left
}

// TestSendRefused tells what the server refused.
func TestSendRefused(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.hs.refuse = func(r matrix.Req) string {
		if r.Kind == matrix.ReqRoomSend {
			return "M_FORBIDDEN"
		}
		return ""
	}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, alice.m.Send(tx, quinta.Message{Room: "!r:x", Text: "hi", Txn: "mine"})
	})
	alice.pump()
	s.hs.refuse = nil
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, alice.m.Send(tx, quinta.Message{Room: "!r:x", Text: "hi", Txn: "mine2"})
	})
	alice.pump()
	var got []string
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventFailed || e.Kind == e2ee.EventSent {
			got = append(got, fmt.Sprintf("%d %s %s %t", e.Kind, e.Message.Txn, e.Detail, e.Message.ID != ""))
		}
	}
	want := []string{fmt.Sprintf("%d mine M_FORBIDDEN false", e2ee.EventFailed), fmt.Sprintf("%d mine2  true", e2ee.EventSent)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSendMalformed refuses what cannot be sent.
func TestSendMalformed(t *testing.T) {
	t.Parallel()
	_, alice, _ := pair(t)
	for _, m := range []quinta.Message{
		{Type: "m.room.encrypted", Body: []byte(`{}`)},
		{Type: "m.room.message", Body: []byte(`{`)},
		{Type: "m.room.message", Body: []byte(`[]`)},
		{Type: "m.room.message", Body: []byte(`{"a":0.5}`)},
		{Type: "m.room.message", Body: mustJSON(map[string]string{"body": strings.Repeat("x", 50000)})},
		{Kind: quinta.MessageText},
		{Kind: quinta.MessageReaction},
		{Kind: quinta.MessageRedaction},
		{Kind: quinta.MessageFile},
		{Kind: quinta.MessageOther},
	} {
		m.Room = "!r:x"
		if err := alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Send(tx, m) }); err == nil {
			t.Errorf("%s %s %.40s was taken", m.Kind, m.Type, m.Body)
		}
	}
}

// TestNoIndexTwice kills the client at every point around a send, and looks
// at the server for two messages under one key.
func TestNoIndexTwice(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "first")
	for i := range 5 {
		alice.send("!r:x", fmt.Sprint("message ", i))
		before := alice.mem.clone()
		reqs := alice.outgoing()
		if i%2 == 0 { // killed before the commit: the requests never left
			alice.mem = before
			alice.restart()
			alice.pump()
			continue
		}
		for _, r := range reqs { // killed after the server answered
			s.hs.handle(alice.user, alice.device, r)
		}
		alice.restart()
		alice.pump()
	}
	turn(bob)
	bob.wantReads("@alice: first", "@alice: message 0", "@alice: message 1", "@alice: message 2", "@alice: message 3", "@alice: message 4")
}

// TestTwoDevicesOneCurveKey has two devices claim one Curve25519 key: the
// session that they share never seals two messages from one state.
func TestTwoDevicesOneCurveKey(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	eve := s.forgeWithKeys("@eve:x", "EVE")
	for i := range 60 {
		id := quinta.DeviceID(fmt.Sprint("TWIN", i))
		twin := &forger{s: s, acc: eve.acc, user: "@eve:x", device: id}
		s.hs.login("@eve:x", id)
		s.hs.users["@eve:x"].devices[id].keys = twin.signed(nil)
		twin.publish(1)
	}
	s.hs.member("!r:x", "@eve:x", "join")
	turn(alice)
	alice.says("!r:x", "hello")
	seen := map[string]int{}
	for id, d := range s.hs.users["@eve:x"].devices {
		for _, m := range d.inbox {
			if body := between(string(m.raw), `"body":"`, `"`); body != "" {
				raw, err := base64.RawStdEncoding.DecodeString(body)
				if err != nil {
					t.Fatal(err)
				}
				p, err := olm.ParsePreKeyMessage(raw)
				if err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				seen[fmt.Sprint(p.SessionID(), p.Message.Index)]++
			}
		}
	}
	if len(seen) != 61 {
		t.Errorf("got %d message keys for 61 devices", len(seen))
	}
}

// TestInvitedReads sends between an invitation and the join.
func TestInvitedReads(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	carol := s.login("@carol:x", "CAROL")
	s.hs.member("!r:x", "@carol:x", "invite")
	turn(alice, carol)
	s.wait(time.Minute)
	alice.says("!r:x", "welcome")
	sent := s.hs.rooms["!r:x"].events[len(s.hs.rooms["!r:x"].events)-1].raw
	turn(carol)
	s.hs.member("!r:x", "@carol:x", "join")
	turn(alice, carol)
	carol.take()
	carol.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return carol.m.Read(tx, "!r:x", []json.RawMessage{sent}) })
	carol.wantReads("@alice: welcome")
}

// TestRejoin leaves a room and comes back: who went in between gets nothing.
func TestRejoin(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "one")
	s.hs.member("!r:x", "@alice:x", "leave")
	turn(alice)
	if err := alice.trySend("!r:x", "no"); !errors.Is(err, matrix.ErrUnknownRoom) {
		t.Errorf("after leaving: got %v", err)
	}
	s.hs.member("!r:x", "@bob:x", "leave")
	s.hs.member("!r:x", "@alice:x", "join")
	turn(alice, bob)
	bob.take()
	alice.says("!r:x", "two")
	if s.distinct("!r:x") != 2 || len(s.hs.users["@bob:x"].devices["BOB"].inbox) != 0 {
		t.Errorf("got %d sessions, %d messages to Bob", s.distinct("!r:x"), len(s.hs.users["@bob:x"].devices["BOB"].inbox))
	}
}

// TestFirstSightIsQuiet learns of a user with devices: they are not news.
func TestFirstSightIsQuiet(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@carol:x", "CAROL")
	s.hs.member("!r:x", "@carol:x", "join")
	turn(alice)
	alice.wantDevices("@carol:x", "CAROL")
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventDevice {
			t.Errorf("got %s %s %s", e.User, e.Device, e.Detail)
		}
	}
}
