package matrix_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/key"
)

// toDeviceTypes counts the clear types of the to-device requests of a client.
func (c *client) watch() map[string]int {
	seen := map[string]int{}
	c.see = func(r matrix.Req) bool {
		if r.Kind == matrix.ReqToDevice {
			seen[strings.Split(r.Path, "/")[5]]++
		}
		seen[string(r.Kind)]++
		return true
	}
	return seen
}

// TestUnwedging has Bob's phone restored from an old copy, so that what Alice
// sends does not open: Bob makes a new session, once an hour, and Alice uses it.
func TestUnwedging(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "one")
	turn(bob)
	bob.says("!r:x", "two")
	turn(alice, bob)
	old := bob.mem.clone()
	for i := range 3 { // the ratchet turns
		s.hs.member("!r:x", "@x:x", "leave")
		turn(alice, bob)
		alice.says("!r:x", "a")
		turn(bob)
		s.hs.member("!r:x", "@x:x", "leave")
		turn(alice, bob)
		bob.says("!r:x", "b")
		turn(alice)
		_ = i
	}
	since := ""
	bob.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { since, err = matrix.Since(tx); return nil, err })
	bob.mem = old
	bob.restart()
	turn(bob) // everything since then is not there any more
	bob.take()
	alice.take()
	seen := bob.watch()
	for range 3 {
		alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Rotate(tx, "!r:x") })
		alice.says("!r:x", "lost")
		bob.sync()
		bob.pump()
	}
	if seen["keys-claim"] != 1 {
		t.Errorf("got %v, want one claim within an hour", seen)
	}
	alice.sync() // the dummy
	alice.pump()
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Rotate(tx, "!r:x") })
	bob.take()
	alice.says("!r:x", "healed")
	turn(bob)
	bob.wantReads("@alice: healed")
	_ = since
}

// TestWedgedAtMostOnceAnHour breaks every Olm message to Bob.
func TestWedgedAtMostOnceAnHour(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	seen := bob.watch()
	breakAll := func() {
		alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Rotate(tx, "!r:x") })
		alice.says("!r:x", "x")
		dev := s.hs.users["@bob:x"].devices["BOB"]
		for i := range dev.inbox {
			dev.inbox[i].raw = spoil(t, dev.inbox[i].raw)
		}
		bob.sync()
		bob.pump()
	}
	breakAll()
	breakAll()
	s.wait(59 * time.Minute)
	breakAll()
	if seen["keys-claim"] != 1 {
		t.Errorf("within an hour: got %v", seen)
	}
	s.wait(time.Minute)
	breakAll()
	if seen["keys-claim"] != 2 {
		t.Errorf("after an hour: got %v", seen)
	}
}

// TestSeveralSessions has both sides start at once, and talk on.
func TestSeveralSessions(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "from alice")
	bob.says("!r:x", "from bob")
	turn(alice, bob)
	for range 4 {
		for _, c := range []*client{alice, bob} {
			c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.Rotate(tx, "!r:x") })
			c.says("!r:x", "on")
			s.wait(time.Second)
			turn(alice, bob)
		}
	}
	if len(s.hs.claims) != 2 {
		t.Errorf("got %d claims, want 2", len(s.hs.claims))
	}
	want := []string{"@alice: from alice", "@bob: from bob", "@alice: on", "@bob: on", "@alice: on", "@bob: on", "@alice: on", "@bob: on", "@alice: on", "@bob: on"}
	alice.wantReads(want...)
	bob.wantReads(want...)
}

// TestManySessions has a device start more sessions than are kept: the last
// ones work.
func TestManySessions(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	for range 8 {
		m := eve.session("!r:x")
		eve.sends(bob, "m.room_key", m.key(), nil)
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "hello"))
		turn(bob)
		bob.wantReads("@eve: hello")
		s.wait(time.Second)
	}
	// Each id has 43 characters; eight sessions would take twice the place.
	if n := len(bob.mem.values["olm/"+eve.acc.Identity().String()]); n < 4*43 || n > 5*600 {
		t.Errorf("the sessions take %d bytes", n)
	}
}

// TestLateKeys brings the key after the messages, and after a restart.
func TestLateKeys(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	key := m.key()
	for _, text := range []string{"one", "two"} {
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", text))
		s.hs.now++
	}
	late := m.key() // from index 2
	turn(bob)
	bob.wantReads("! no-key-yet", "! no-key-yet")
	bob.restart()
	eve.sends(bob, "m.room_key", late, nil)
	turn(bob)
	bob.wantReads() // they are older than the key
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "three"))
	events := s.hs.rooms["!r:x"].events
	turn(bob)
	bob.wantReads("@eve: three")
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Read(tx, "!r:x", []json.RawMessage{events[len(events)-2].raw})
	})
	bob.wantReads("! key-too-new")
	eve.sends(bob, "m.room_key", key, nil)
	turn(bob)
	bob.wantReads("@eve: one", "@eve: two")
	eve.sends(bob, "m.room_key", late, nil) // worse: changes nothing
	turn(bob)
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Read(tx, "!r:x", []json.RawMessage{events[len(events)-2].raw})
	})
	bob.wantReads("@eve: two")
}

// TestNotAMemberThen reads what was sent before the join.
func TestNotAMemberThen(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	carol := s.login("@carol:x", "CAROL")
	s.wait(time.Minute)
	alice.says("!r:x", "early")
	s.wait(time.Minute)
	s.hs.member("!r:x", "@carol:x", "join")
	turn(alice, carol)
	early := s.hs.rooms["!r:x"].events
	carol.take()
	for _, e := range early {
		if strings.Contains(string(e.raw), `"m.room.encrypted"`) {
			carol.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return carol.m.Read(tx, "!r:x", []json.RawMessage{e.raw}) })
		}
	}
	carol.wantReads("! not-a-member-then")
}

// own adds a second device of Bob, each knowing the other as verified.
func own(t *testing.T, s *stage, bob *client) *client {
	t.Helper()
	bob2 := s.login("@bob:x", "BOB2")
	turn(bob, bob2)
	bob.decide(bob2, matrix.Accept)
	bob2.decide(bob, matrix.Accept)
	turn(bob, bob2)
	bob.take()
	bob2.take()
	return bob2
}

// TestKeyRequest lets a new device of the user ask for an old key.
func TestKeyRequest(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "old")
	turn(bob)
	s.wait(time.Minute)
	bob2 := s.login("@bob:x", "BOB2")
	seen := bob2.watch()
	turn(bob, bob2)
	bob2.wantReads("! before-this-device")
	if got := bob2.exported(); len(got) != 0 {
		t.Fatalf("got %v before anything was verified", got)
	}
	bob.decide(bob2, matrix.Accept)
	bob2.decide(bob, matrix.Accept) // and so it asks again
	turn(bob, bob2)
	bob2.wantReads("@alice: old (key-source)")
	if seen["m.room_key_request"] != 3 {
		t.Errorf("got %v, want two requests and a cancellation", seen)
	}
	if s := bob2.exported(); len(s) != 1 || !slices.Equal(s[0].ForwardingChain, []string{bob.curve().String()}) {
		t.Errorf("got %v with chain %v", s, s[0].ForwardingChain)
	}
}

// TestKeyRequestOfStrangers asks from devices that get nothing.
func TestKeyRequestOfStrangers(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	m := eve.session("!r:x")
	eve.sends(bob, "m.room_key", m.key(), nil)
	turn(bob)
	unverified := s.forgeWithKeys("@bob:x", "BOB2")
	_ = unverified
	turn(bob)
	request := func(d quinta.DeviceID, session any) map[string]any {
		return map[string]any{
			"action": "request", "requesting_device_id": d, "request_id": "1",
			"body": map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": session, "sender_key": eve.acc.Identity()},
		}
	}
	s.hs.deliver("@bob:x", "BOB", "@eve:x", "m.room_key_request", request("EVE", m.out.ID()))
	s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", request("BOB2", m.out.ID()))
	s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", request("NONE", m.out.ID()))
	turn(bob)
	if got := s.withheldTo(t, "@bob:x", "BOB2"); !slices.Equal(got, []string{"m.unverified"}) {
		t.Errorf("the unverified device was told %v", got)
	}
	for _, u := range []struct {
		user   quinta.UserID
		device quinta.DeviceID
	}{{"@eve:x", "EVE"}, {"@bob:x", "BOB2"}} {
		for _, e := range s.hs.users[u.user].devices[u.device].inbox {
			if strings.Contains(string(e.raw), "m.room.encrypted") {
				t.Errorf("%s %s got a key", u.user, u.device)
			}
		}
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Decide(tx, "@bob:x", "BOB2", unverified.acc.Signing(), matrix.Accept)
	})
	s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", request("BOB2", "unknown"))
	turn(bob)
	if got := s.withheldTo(t, "@bob:x", "BOB2"); !slices.Equal(got, []string{"m.unverified", "m.unavailable"}) {
		t.Errorf("for an unknown session: told %v", got)
	}
	// A request that is taken back before it was answered.
	s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", request("BOB2", m.out.ID()))
	s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", map[string]any{"action": "request_cancellation", "requesting_device_id": "BOB2", "request_id": "1"})
	turn(bob)
	for _, e := range s.hs.users["@bob:x"].devices["BOB2"].inbox {
		if strings.Contains(string(e.raw), "m.room.encrypted") {
			t.Error("a request that was taken back was answered")
		}
	}
}

// TestSecretSharing asks a verified device of the user for the cross-signing keys.
func TestSecretSharing(t *testing.T) {
	t.Parallel()
	s, _, bob := crossPair(t)
	bob2 := own(t, s, bob)
	backup, err := key.NewAgreementPrivate[key.Backup]([]byte(strings.Repeat("b", 32)))
	if err != nil {
		t.Fatal(err)
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.SetBackupKey(tx, backup) })
	for _, name := range []string{"m.cross_signing.master", "m.cross_signing.self_signing", "m.cross_signing.user_signing", "m.megolm_backup.v1"} {
		bob2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob2.m.RequestSecret(tx, name) })
	}
	bob2.pump()
	turn(bob, bob2)
	var got []string
	for _, e := range bob2.take() {
		if e.Kind == e2ee.EventSecret {
			got = append(got, e.Detail)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %v", got)
	}
	if k := bob2.private(); !k.Master.Equal(bob.private().Master) || !k.SelfSigning.Equal(bob.private().SelfSigning) || !k.UserSigning.Equal(bob.private().UserSigning) {
		t.Error("other keys came")
	}
	bob2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		k, err := bob2.m.BackupKey(tx)
		if !k.Equal(backup) {
			t.Error("another backup key came")
		}
		return nil, err
	})
	if bob.trustIn("@bob:x", "BOB2") != quinta.TrustVerified {
		t.Error("the new device is not verified")
	}
}

// TestAttack06SecretWaits: a secret and the key of earlier messages that wait for
// an Olm session do not leave if the device is not verified any more when the
// session is there.
func TestAttack06SecretWaits(t *testing.T) {
	t.Parallel()
	for name, decision := range map[string]matrix.Decision{"still verified": matrix.Accept, "verified no more": matrix.Skip, "rejected": matrix.Reject} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bob, eve := withEve(t)
			backup, err := key.NewAgreementPrivate[key.Backup]([]byte(strings.Repeat("b", 32)))
			if err != nil {
				t.Fatal(err)
			}
			bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.SetBackupKey(tx, backup) })
			m := eve.session("!r:x")
			eve.sends(bob, "m.room_key", m.key(), nil)
			other := s.forgeWithKeys("@bob:x", "OTHER")
			other.publish(3)
			turn(bob)
			decide := func(d matrix.Decision) {
				bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
					return bob.m.Decide(tx, "@bob:x", "OTHER", other.acc.Signing(), d)
				})
			}
			decide(matrix.Accept)
			bob.see = func(r matrix.Req) bool { return r.Kind != matrix.ReqKeysClaim }
			s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.secret.request", map[string]any{
				"action": "request", "name": "m.megolm_backup.v1", "requesting_device_id": "OTHER", "request_id": "1"})
			s.hs.deliver("@bob:x", "BOB", "@bob:x", "m.room_key_request", map[string]any{
				"action": "request", "requesting_device_id": "OTHER", "request_id": "2",
				"body": map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": m.out.ID(), "sender_key": eve.acc.Identity()}})
			turn(bob)
			if n, _ := bob.records(); n["olmq"] != 2 {
				t.Fatalf("got %d payloads that wait, want the secret and the key", n["olmq"])
			}
			decide(decision)
			bob.see = nil
			bob.pump()
			got := 0
			for _, e := range s.hs.users["@bob:x"].devices["OTHER"].inbox {
				if strings.Contains(string(e.raw), "m.room.encrypted") {
					got++
				}
			}
			if want := map[bool]int{true: 2}[decision == matrix.Accept]; got != want {
				t.Errorf("got %d sealed payloads, want %d", got, want)
			}
			if n, _ := bob.records(); n["olmq"] != 0 {
				t.Errorf("%d payloads still wait", n["olmq"])
			}
		})
	}
}

// TestAttack06FakedSecret sends secrets that no one asked for, from who was
// not asked, and wrong ones.
func TestAttack06FakedSecret(t *testing.T) {
	t.Parallel()
	s, alice, bob := crossPair(t)
	mallory := s.forgeWithKeys("@bob:x", "MALLORY")
	eve := s.forge("@eve:x", "EVE")
	turn(alice, bob)
	if err := bob.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.RequestSecret(tx, "m.megolm_backup.v1") }); err != matrix.ErrUnknownDevice {
		t.Errorf("no one to ask: got %v", err)
	}
	good := s.forgeWithKeys("@bob:x", "GOOD")
	turn(bob)
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Decide(tx, "@bob:x", "GOOD", good.acc.Signing(), matrix.Accept)
	})
	ask := func(name string) (id string) {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob.m.RequestSecret(tx, name) })
		bob.see = func(r matrix.Req) bool {
			if strings.Contains(r.Path, "m.secret.request") {
				id = between(string(r.Body), `"request_id":"`, `"`)
			}
			return true
		}
		bob.pump()
		return id
	}
	secret := strings.Repeat("A", 42) + "E"
	id := ask("m.megolm_backup.v1")
	for name, send := range map[string]func(){
		"not asked for": func() {
			good.sends(bob, "m.secret.send", map[string]string{"request_id": "other", "secret": secret}, nil)
		},
		"another user": func() { eve.sends(bob, "m.secret.send", map[string]string{"request_id": id, "secret": secret}, nil) },
		"unverified": func() {
			mallory.sends(bob, "m.secret.send", map[string]string{"request_id": id, "secret": secret}, nil)
		},
		"malformed": func() { good.sends(bob, "m.secret.send", map[string]string{"request_id": id, "secret": "AAAA"}, nil) },
		"wrong cross key": func() {
			good.sends(bob, "m.secret.send", map[string]string{"request_id": ask("m.cross_signing.master"), "secret": secret}, nil)
		},
	} {
		send()
		turn(bob)
		for _, e := range bob.take() {
			if e.Kind == e2ee.EventSecret {
				t.Errorf("%s: taken", name)
			}
		}
	}
	decide := func(f *forger, d matrix.Decision) {
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob.m.Decide(tx, "@bob:x", f.device, f.acc.Signing(), d)
		})
	}
	answer := func(f *forger) {
		f.sends(bob, "m.secret.send", map[string]string{"request_id": id, "secret": secret}, nil)
		turn(bob)
	}
	decide(good, matrix.Reject)
	answer(good) // was asked, and is not trusted any more
	decide(good, matrix.Accept)
	decide(mallory, matrix.Accept)
	answer(mallory) // is verified, and was not asked
	for _, e := range bob.take() {
		if e.Kind == e2ee.EventSecret {
			t.Errorf("taken from %s", e.Device)
		}
	}
	answer(good)
	taken := 0
	for _, e := range bob.take() {
		if e.Kind == e2ee.EventSecret {
			taken++
		}
	}
	if taken != 1 {
		t.Errorf("the honest answer: taken %d times", taken)
	}
}

func between(s, head, tail string) string {
	_, s, _ = strings.Cut(s, head)
	s, _, _ = strings.Cut(s, tail)
	return s
}

// TestImport takes sessions of a file, and upgrades them when the owner's key
// comes.
func TestImport(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "old")
	turn(bob)
	s.wait(time.Minute)
	carol := s.login("@bob:x", "BOB2")
	turn(carol)
	carol.wantReads("! before-this-device")
	file := bob.exported()
	n := 0
	carol.update(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = carol.m.Import(tx, file)
		return events, err
	})
	carol.wantReads("@alice: old (key-source)")
	again := 0
	carol.update(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		again, events, err = carol.m.Import(tx, file)
		return events, err
	})
	if n != 1 || again != 0 {
		t.Errorf("got %d, then %d, want 1 and 0", n, again)
	}
	file[0].SessionID = "other"
	file[0].RoomID = ""
	carol.update(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = carol.m.Import(tx, file)
		return events, err
	})
	if n != 0 {
		t.Error("took a session under another id")
	}
}
