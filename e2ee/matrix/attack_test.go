package matrix_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/sessiondata"
)

// A sender is a Megolm session of a forger.
type sender struct {
	f    *forger
	room quinta.RoomID
	out  *megolm.Outbound
}

func (f *forger) session(room quinta.RoomID) *sender {
	f.s.t.Helper()
	out, err := megolm.NewOutbound(f.s.env().Rand)
	if err != nil {
		f.s.t.Fatal(err)
	}
	return &sender{f, room, out}
}

// key returns the content of m.room_key.
func (s *sender) key() map[string]any {
	return map[string]any{
		"algorithm": "m.megolm.v1.aes-sha2", "room_id": s.room, "session_id": s.out.ID(),
		"session_key": base64.RawStdEncoding.EncodeToString(s.out.SessionKey()),
	}
}

// event returns the content of an encrypted event with a text.
func (s *sender) event(room quinta.RoomID, text string) map[string]any {
	s.f.s.t.Helper()
	return s.content(room, map[string]any{"msgtype": "m.text", "body": text})
}

// content returns the content of an encrypted event with any content inside.
func (s *sender) content(room quinta.RoomID, inside map[string]any) map[string]any {
	s.f.s.t.Helper()
	sealed, err := s.out.Seal(mustJSON(map[string]any{"type": "m.room.message", "room_id": room, "content": inside}))
	if err != nil {
		s.f.s.t.Fatal(err)
	}
	return map[string]any{
		"algorithm": "m.megolm.v1.aes-sha2", "sender_key": s.f.acc.Identity(), "device_id": s.f.device,
		"session_id": s.out.ID(), "ciphertext": base64.RawStdEncoding.EncodeToString(sealed),
	}
}

// withEve is a room of Alice and Bob and a forger.
func withEve(t *testing.T) (s *stage, bob *client, eve *forger) {
	t.Helper()
	s, alice, bob := pair(t)
	eve = s.forge("@eve:x", "EVE")
	s.hs.member("!r:x", "@eve:x", "join")
	turn(alice, bob)
	bob.take()
	return s, bob, eve
}

// TestHonestForger shows that the forger is believed when they are honest, so
// that the attacks below fail for the right reason.
func TestHonestForger(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "hello"))
	bob.sync()
	for _, e := range bob.events {
		if e.Kind == e2ee.EventMessage && (e.Message.Device != "EVE" || e.Message.Trust != quinta.TrustPinned || !e.Message.Encrypted) {
			t.Errorf("got %+v", e.Message)
		}
	}
	bob.wantReads("@eve: hello")
	eve.sends(bob, "m.room_key", eve.session("!r:x").key(), map[string]any{"sender_device_keys": nil})
	bob.sync()
}

// TestAttack11UnknownKeyShare changes one field of the Olm payload each.
func TestAttack11UnknownKeyShare(t *testing.T) {
	t.Parallel()
	_, other, _ := pair(t)
	for name, change := range map[string]map[string]any{
		"sender":              {"sender": "@alice:x"},
		"no sender":           {"sender": nil},
		"recipient":           {"recipient": "@alice:x"},
		"no recipient":        {"recipient": nil},
		"recipient keys":      {"recipient_keys": map[string]string{"ed25519": other.identity().String()}},
		"no recipient keys":   {"recipient_keys": nil},
		"keys":                {"keys": map[string]string{"ed25519": other.identity().String()}},
		"no keys":             {"keys": nil},
		"keys, device silent": {"keys": map[string]string{"ed25519": other.identity().String()}, "sender_device_keys": nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bob, eve := withEve(t)
			m := eve.session("!r:x")
			eve.sends(bob, "m.room_key", m.key(), change)
			s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "forged"))
			turn(bob)
			bob.wantReads("! no-key-yet")
		})
	}
}

// TestAttack10SenderDeviceKeys changes the device keys inside the payload.
func TestAttack10SenderDeviceKeys(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"user", "device", "curve", "ed25519", "signature", "shape"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bob, eve := withEve(t)
			// Mallory writes under Eve's name with keys of their own.
			mallory := &forger{s: s, acc: s.forge("@mallory:x", "M").acc, user: "@eve:x", device: "EVE"}
			keys := func(curve, ed string) map[string]string {
				return map[string]string{"curve25519:EVE": curve, "ed25519:EVE": ed}
			}
			bad := map[string]json.RawMessage{
				"user":      eve.signed(map[string]any{"user_id": "@alice:x"}),
				"device":    eve.signed(map[string]any{"device_id": "OTHER"}),
				"curve":     eve.signed(map[string]any{"keys": keys(mallory.acc.Identity().String(), eve.acc.Signing().String())}),
				"ed25519":   mallory.signed(map[string]any{"keys": keys(eve.acc.Identity().String(), mallory.acc.Signing().String())}),
				"signature": mallory.signed(map[string]any{"keys": keys(eve.acc.Identity().String(), eve.acc.Signing().String())}),
				"shape":     json.RawMessage(`[]`),
			}[name]
			m := eve.session("!r:x")
			eve.sends(bob, "m.room_key", m.key(), map[string]any{"sender_device_keys": bad})
			s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "forged"))
			turn(bob)
			bob.wantReads("! no-key-yet")
		})
	}
}

// TestAttack11StolenCurveKey publishes Alice's Curve25519 key as Eve's own.
func TestAttack11StolenCurveKey(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	eve := s.forge("@eve:x", "EVE")
	eve.keys = eve.signed(map[string]any{"keys": map[string]string{"curve25519:EVE": alice.curve().String(), "ed25519:EVE": eve.acc.Signing().String()}})
	s.hs.users["@eve:x"].devices["EVE"].keys = eve.keys
	s.hs.member("!r:x", "@eve:x", "join")
	turn(bob)
	bob.take()
	alice.says("!r:x", "from alice")
	// The server hands Alice's to-device message out as Eve's.
	dev := s.hs.users["@bob:x"].devices["BOB"]
	for i := range dev.inbox {
		dev.inbox[i].raw = json.RawMessage(strings.Replace(string(dev.inbox[i].raw), `"sender":"@alice:x"`, `"sender":"@eve:x"`, 1))
	}
	turn(bob)
	bob.wantReads("! no-key-yet")
}

// TestAttack05OverOlmOnly sends keys and secrets in clear, and in Megolm.
func TestAttack05OverOlmOnly(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	forwarded := m.key()
	forwarded["sender_key"], forwarded["sender_claimed_ed25519_key"], forwarded["forwarding_curve25519_key_chain"] = eve.acc.Identity(), eve.acc.Signing(), []string{}
	for typ, content := range map[string]any{
		"m.room_key": m.key(), "m.forwarded_room_key": forwarded,
		"m.secret.send":     map[string]string{"request_id": "1", "secret": "AAAA"},
		"m.room_key_bundle": map[string]string{"room_id": "!r:x"},
	} {
		s.hs.deliver("@bob:x", "BOB", "@eve:x", typ, content)
		carrier := eve.session("!r:x")
		eve.sends(bob, "m.room_key", carrier.key(), nil)
		sealed, err := carrier.out.Seal(eve.payload(bob, typ, content, map[string]any{"room_id": "!r:x"}))
		if err != nil {
			t.Fatal(err)
		}
		s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room.encrypted", map[string]any{
			"algorithm": "m.megolm.v1.aes-sha2", "sender_key": eve.acc.Identity(), "session_id": carrier.out.ID(), "device_id": "EVE",
			"ciphertext": base64.RawStdEncoding.EncodeToString(sealed),
		})
	}
	// An Olm message under another name.
	renamed := eve.seal(bob, eve.payload(bob, "m.room_key", m.key(), nil))
	renamed["algorithm"] = "m.megolm.v1.aes-sha2"
	s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room.encrypted", renamed)
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "forged"))
	turn(bob)
	bob.wantReads("! no-key-yet")
}

// TestAttack04Forwarded sends a forwarded key that was requested: from a stranger,
// from a device of the user that is not verified, from a verified one that was not
// asked, and at last from one that is both. No one can forward what no one asked
// for, and nothing that is there gets worse.
func TestAttack04Forwarded(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	bob.crossSign()
	asked := s.forgeWithKeys("@bob:x", "ASKED")
	turn(bob)
	m := eve.session("!r:x")
	inbound, err := megolm.NewInbound(m.out.SessionKey())
	if err != nil {
		t.Fatal(err)
	}
	forward := func(index uint32) map[string]any {
		raw, err := inbound.Export(index)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{
			"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": inbound.ID(), "session_key": base64.RawStdEncoding.EncodeToString(raw),
			"sender_key": eve.acc.Identity(), "sender_claimed_ed25519_key": eve.acc.Signing(), "forwarding_curve25519_key_chain": []string{},
		}
	}
	accept := func(f *forger) {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob.m.Decide(tx, "@bob:x", f.device, f.acc.Signing(), matrix.Accept)
		})
	}
	sends := func(f *forger, content map[string]any, want int) {
		t.Helper()
		f.sends(bob, "m.forwarded_room_key", content, nil)
		turn(bob)
		if got := bob.exported(); len(got) != want {
			t.Errorf("%s: got %d sessions, want %d", f.device, len(got), want)
		}
	}
	sends(asked, forward(0), 0) // no one asked yet
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "zero"))
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "one"))
	turn(bob)                                   // now ASKED is asked
	later := s.forgeWithKeys("@bob:x", "LATER") // verified from the beginning
	self := bob.private().SelfSigning
	signed, err := canonicaljson.Sign(later.keys, "@bob:x", "ed25519:"+self.Public().String(), self.Sign)
	if err != nil {
		t.Fatal(err)
	}
	s.hs.users["@bob:x"].devices["LATER"].keys = signed
	turn(bob)
	if got := bob.trustIn("@bob:x", "LATER"); got != quinta.TrustVerified {
		t.Fatalf("LATER is %v", got)
	}
	bob.take()
	sends(eve, forward(0), 0)
	sends(asked, forward(0), 0)
	sends(later, forward(0), 0)
	accept(asked)
	sends(asked, forward(1), 1)
	bob.wantReads("@eve: one (key-source)")
	eve.sends(bob, "m.room_key", map[string]any{
		"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": m.out.ID(), "session_key": base64.RawStdEncoding.EncodeToString(m.out.SessionKey()),
	}, nil) // from index 2: the earlier one stays
	sends(asked, forward(0), 1) // asked again for the older message
	bob.wantReads("@eve: zero")
	sends(asked, forward(1), 1)
	if first, err := bob.exported()[0].Check(); err != nil || first != 0 {
		t.Errorf("got first index %d, %v, want 0", first, err)
	}
}

// exported returns the sessions that a client has.
func (c *client) exported() []sessiondata.Session {
	c.s.t.Helper()
	var out []sessiondata.Session
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		out, err = c.m.Export(tx)
		return nil, err
	})
	return out
}

// TestAttack09SessionOfAnother shows a message under a session of Eve as
// Alice's.
func TestAttack09SessionOfAnother(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	s.hs.event("!r:x", "@alice:x", "m.room.encrypted", nil, m.event("!r:x", "as alice"))
	turn(bob)
	bob.wantReads("! sender-mismatch: a session of another user")
}

// TestAttack09OwnerStays has Mallory, who has Eve's session from an earlier
// index on, send it as her own: Eve's messages stay readable, and those of both
// are marked, since one of them did not make the session.
func TestAttack09OwnerStays(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	mallory := s.forge("@mallory:x", "MALLORY")
	s.hs.member("!r:x", "@mallory:x", "join")
	m := eve.session("!r:x")
	early := m.key()
	m.event("!r:x", "zero")
	eve.sends(bob, "m.room_key", m.key(), nil)
	turn(bob)
	mallory.sends(bob, "m.room_key", early, nil)
	turn(bob)
	bob.take()
	content := m.event("!r:x", "one")
	s.hs.event("!r:x", "@mallory:x", "m.room.encrypted", nil, content)
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
	turn(bob)
	bob.wantReads("@mallory: one (owner)", "@eve: one (owner)")
}

// TestAttack12Replay shows one message again.
func TestAttack12Replay(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	content := m.event("!r:x", "pay once")
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
	turn(bob)
	bob.wantReads("@eve: pay once")
	events := s.hs.rooms["!r:x"].events
	read := func(raw json.RawMessage) {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return bob.m.Read(tx, "!r:x", []json.RawMessage{raw}) })
	}
	read(events[len(events)-1].raw)
	bob.wantReads("@eve: pay once") // the same event, as in normal work
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
	turn(bob)
	bob.wantReads("! replayed")
	later := strings.Replace(string(events[len(events)-1].raw), fmt.Sprint(s.hs.now), fmt.Sprint(s.hs.now+1), 1)
	read(json.RawMessage(later))
	bob.wantReads("! replayed")
}

// TestAttack13RoomMove moves a message to another room, with its key and
// without.
func TestAttack13RoomMove(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	s.hs.create("!other:x", "@bob:x", "@eve:x")
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	s.hs.event("!other:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "moved"))
	turn(bob)
	bob.wantReads("! no-key-yet") // the key is of one room
	n := eve.session("!other:x")
	eve.sends(bob, "m.room_key", n.key(), nil)
	s.hs.event("!other:x", "@eve:x", "m.room.encrypted", nil, n.event("!r:x", "moved"))
	turn(bob)
	bob.wantReads("! sender-mismatch: a message of another room")
}

// TestAttack14OneTimeKeyReuse sends the same pre-key message twice, and a new
// session to a used one-time key.
func TestAttack14OneTimeKeyReuse(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	dev := s.hs.users["@bob:x"].devices["BOB"]
	used := dev.oneTime[0]
	m := eve.session("!r:x")
	content := eve.seal(bob, eve.payload(bob, "m.room_key", m.key(), nil))
	s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room.encrypted", content)
	turn(bob)
	before := len(bob.exported())
	s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room.encrypted", content)
	dev.oneTime = append([]namedKey{used}, dev.oneTime...)
	eve.sends(bob, "m.room_key", eve.session("!r:x").key(), nil)
	turn(bob)
	if after := len(bob.exported()); before != 1 || after != 1 {
		t.Errorf("got %d sessions, then %d, want 1 and 1", before, after)
	}
}

// TestAttack14FallbackKey lets an old fallback key go after an hour.
func TestAttack14FallbackKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wait time.Duration
		want int
	}{{30 * time.Minute, 1}, {2 * time.Hour, 0}} {
		s, bob, eve := withEve(t)
		dev := s.hs.users["@bob:x"].devices["BOB"]
		old := *dev.fallback
		s.wait(10 * time.Minute)
		dev.used = true
		turn(bob)
		if dev.fallback.name == old.name {
			t.Fatal("the fallback key was not replaced")
		}
		s.wait(c.wait)
		turn(bob)
		dev.oneTime = append([]namedKey{old}, dev.oneTime...)
		eve.sends(bob, "m.room_key", eve.session("!r:x").key(), nil)
		turn(bob)
		if got := len(bob.exported()); got != c.want {
			t.Errorf("after %v: got %d sessions, want %d", c.wait, got, c.want)
		}
	}
}

// TestAttack15WeakClaimedKeys has the server and a member give keys with
// which everyone knows the secret.
func TestAttack15WeakClaimedKeys(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	eve := s.forge("@eve:x", "EVE")
	for _, weak := range []string{strings.Repeat("A", 43), "AQ" + strings.Repeat("A", 41)} {
		dev := s.hs.users["@eve:x"].devices["EVE"]
		raw, err := json.Marshal(map[string]string{"key": weak})
		if err != nil {
			t.Fatal(err)
		}
		dev.oneTime = append(dev.oneTime, namedKey{"signed_curve25519:" + weak[:4], eve.signObject(raw)})
	}
	s.hs.member("!r:x", "@eve:x", "join")
	turn(alice, bob)
	bob.take()
	alice.says("!r:x", "one")
	s.wait(time.Hour)
	alice.says("!r:x", "two")
	turn(bob)
	bob.wantReads("@alice: one", "@alice: two")
	for _, m := range s.hs.users["@eve:x"].devices["EVE"].inbox {
		if strings.Contains(string(m.raw), "m.room.encrypted") {
			t.Error("a key was sealed to a weak one-time key")
		}
	}
}

// TestUnsignedOneTimeKey has the server give a one-time key of its own.
func TestUnsignedOneTimeKey(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	dev := s.hs.users["@bob:x"].devices["BOB"]
	server := s.forgeWithKeys("@server:x", "SERVER")
	fake := s.hs.users["@server:x"].devices["SERVER"].oneTime[0]
	_ = server
	for i := range dev.oneTime {
		dev.oneTime[i].key = fake.key
	}
	alice.says("!r:x", "secret")
	for _, m := range dev.inbox {
		if strings.Contains(string(m.raw), "m.room.encrypted") {
			t.Error("a key was sealed to a one-time key that Bob did not sign")
		}
	}
}

// TestUnknownDeviceWaits holds back a payload of a device that is not in the
// list until the list was requested again.
func TestUnknownDeviceWaits(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"listed":                 "! no-key-yet, @eve: boo",
		"not listed":             "! no-key-yet",
		"listed with other keys": "! no-key-yet",
	} {
		s, bob, eve := withEve(t)
		ghost := s.forge("@eve:x", "GHOST")
		s.hs.users["@eve:x"].changed = 0 // the server says nothing of it
		change := map[string]any{"sender_device_keys": nil}
		switch name {
		case "not listed":
			s.hs.users["@eve:x"].devices["GHOST"].keys = nil
		case "listed with other keys":
			change["keys"] = map[string]string{"ed25519": eve.acc.Signing().String()}
		}
		m := ghost.session("!r:x")
		ghost.sends(bob, "m.room_key", m.key(), change)
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "boo"))
		turn(bob)
		if got := strings.Join(bob.reads(), ", "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// TestUnknownDeviceWaitsLonger has the device appear only in the answer after
// the next one.
func TestUnknownDeviceWaitsLonger(t *testing.T) {
	t.Parallel()
	s, bob, _ := withEve(t)
	ghost := s.forge("@eve:x", "GHOST")
	dev := s.hs.users["@eve:x"].devices["GHOST"]
	keys := dev.keys
	dev.keys = nil
	m := ghost.session("!r:x")
	ghost.sends(bob, "m.room_key", m.key(), map[string]any{"sender_device_keys": nil})
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "boo"))
	bob.sync()
	queries := bob.find(matrix.ReqKeysQuery)
	if len(queries) != 1 {
		t.Fatalf("got %v", kinds(queries))
	}
	old := s.hs.handle(bob.user, bob.device, queries[0])
	dev.keys = keys
	s.hs.users["@eve:x"].changed = s.hs.next()
	bob.sync() // outdated again while the query is on its way
	bob.done(queries[0], old)
	bob.wantReads("! no-key-yet")
	bob.pump()
	bob.wantReads("@eve: boo")
}

// TestAttack23HostileEvents gives events of every wrong shape.
func TestAttack23HostileEvents(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	for _, content := range []any{
		nil, 7, "x", []int{}, map[string]any{}, map[string]any{"algorithm": 7},
		map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "AAAA", "ciphertext": map[string]any{bob.curve().String(): map[string]any{"type": 0, "body": "AAAA"}}},
		map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": eve.acc.Identity(), "ciphertext": map[string]any{bob.curve().String(): map[string]any{"type": 9, "body": "AwoA"}}},
		map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": eve.acc.Identity(), "ciphertext": map[string]any{bob.curve().String(): map[string]any{"type": 1, "body": "AwoA"}}},
		map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": eve.acc.Identity(), "ciphertext": []int{}},
		map[string]any{"action": "request", "request_id": "1", "requesting_device_id": "EVE", "body": 7},
		map[string]any{"code": strings.Repeat("x", 1000)},
	} {
		for _, typ := range []string{"m.room.encrypted", "m.room_key_request", "m.room_key.withheld", "m.secret.request", "", "other"} {
			s.hs.deliver("@bob:x", "BOB", "@eve:x", typ, content)
		}
	}
	for _, payload := range []string{``, `{`, `[]`, `{"type":7}`, `{"content":{"room_id":{}}}`} {
		s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room.encrypted", eve.seal(bob, []byte(payload)))
	}
	for _, content := range []any{nil, 7, map[string]any{"algorithm": 7}, map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": 7, "session_id": "x"}, map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA", "session_id": "x"}, map[string]any{"algorithm": "m.olm.v9", "ciphertext": "AAAA"}} {
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
	}
	turn(bob)
	lines := bob.reads()
	for _, line := range lines {
		if !strings.HasPrefix(line, "! malformed") && !strings.HasPrefix(line, "! unsupported") {
			t.Errorf("got %q", line)
		}
	}
	if len(lines) != 6 {
		t.Errorf("got %d reports for 6 events: %q", len(lines), lines)
	}
	// All continues as before.
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "still here"))
	turn(bob)
	bob.wantReads("@eve: still here")
}

// TestAttack19MemoryBombs gives what would fill the memory or the store, or
// work without end.
func TestAttack19MemoryBombs(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	bob.sync()
	before := len(bob.mem.keys)
	for range 3 {
		s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room_key.withheld", map[string]any{
			"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": "S", "code": "m.odd", "reason": strings.Repeat("x", 200_000),
		})
		s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room_key.withheld", map[string]any{
			"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!" + strings.Repeat("r", 1000), "session_id": "S", "code": "m.odd",
		})
	}
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "session_id": strings.Repeat("s", 1000), "ciphertext": "AwgA"})
	bob.sync()
	if after := len(bob.mem.keys); after != before {
		t.Errorf("the store grew from %d to %d entries", before, after)
	}
	// The greatest index that a message can have.
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	far := m.event("!r:x", "far")
	raw, err := base64.RawStdEncoding.DecodeString(far["ciphertext"].(string))
	if err != nil {
		t.Fatal(err)
	}
	far["ciphertext"] = base64.RawStdEncoding.EncodeToString(append([]byte{3, 8, 0xff, 0xff, 0xff, 0xff, 0x0f}, raw[3:]...))
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, far)
	bob.take()
	bob.sync()
	bob.wantReads("! tampered")
	// More devices than anyone has.
	many := map[quinta.DeviceID]json.RawMessage{}
	for i := range 1500 {
		many[quinta.DeviceID(fmt.Sprint("D", i))] = eve.keys
	}
	s.hs.answerQuery = func(ans map[string]any) {
		ans["device_keys"].(map[quinta.UserID]map[quinta.DeviceID]json.RawMessage)["@eve:x"] = many
	}
	s.hs.users["@eve:x"].changed = s.hs.next()
	turn(bob)
	bob.wantDevices("@eve:x")
}

// TestAttack22NamesOfAnotherCase: members of a sealed payload whose names are
// those of fields but for their case say nothing, and a payload that has a
// member twice is not taken.
func TestAttack22NamesOfAnotherCase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extra string
		taken bool
	}{
		"plain":                   {``, true},
		"another type below":      {`,"Type":"m.dummy"`, true},
		"another recipient below": {`,"Recipient":"@eve:x"`, true},
		"another content below":   {`,"CONTENT":{}`, true},
		"twice":                   {`,"type":"m.room_key"`, false},
		"twice of another case":   {`,"Type":"m.dummy","Type":"m.dummy"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bob, eve := withEve(t)
			m := eve.session("!r:x")
			payload := eve.payload(bob, "m.room_key", m.key(), nil)
			payload = append(payload[:len(payload)-1], c.extra+"}"...)
			s.hs.deliver(bob.user, bob.device, eve.user, "m.room.encrypted", eve.seal(bob, payload))
			turn(bob)
			if n, _ := bob.records(); (n["in"] > 0) != c.taken {
				t.Errorf("got %d keys of rooms, want it taken: %v", n["in"], c.taken)
			}
		})
	}
}
