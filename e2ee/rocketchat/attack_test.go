package rocketchat_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// talking is a pair that has exchanged one message.
func talking(t *testing.T) (*server, *device, *device) {
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "the first word")
	s.talk(a, b)
	b.wants("the first word", 1)
	return s, a, b
}

// lastReason returns the reason of the newest message that could not be read.
func (d *device) lastReason() quinta.Reason {
	e := d.kinds(e2ee.EventUndecryptable)
	if len(e) == 0 {
		return ""
	}
	return e[len(e)-1].Reason
}

// TestAttack04UnknownKey: a message of an unknown key is kept and asked for, and
// no other key is tried.
func TestAttack04UnknownKey(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	var c rocketchat.Content
	if err := json.Unmarshal(s.log[0].Content, &c); err != nil {
		t.Fatal(err)
	}
	c.KeyID = "00000000-0000-4000-8000-000000000000"
	raw, _ := json.Marshal(c)
	s.post(rocketchat.Message{ID: "unknownkey", Room: "room1", Type: "e2e", Content: raw, User: s.author(a.id)})
	before := s.calls[rocketchat.ReqRequestKeys]
	s.talk(b)
	if b.lastReason() != quinta.ReasonNoKeyYet || b.read("the first word") != 1 {
		t.Errorf("got %q: %s", b.lastReason(), b.story())
	}
	if s.calls[rocketchat.ReqRequestKeys] == before {
		t.Error("got no request for the key")
	}
}

// TestAttack08Replay says old ciphertexts again: under another id, as another
// sender, in another room, and after a reset.
func TestAttack08Replay(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	again := s.log[0]
	again.ID = "another"
	s.post(again)
	s.talk(b)
	if b.lastReason() != quinta.ReasonReplayed || b.read("the first word") != 1 {
		t.Errorf("another id: got %q: %s", b.lastReason(), b.story())
	}
	again.ID, again.User = "another2", s.author(b.id)
	s.post(again)
	s.talk(a)
	if a.lastReason() != quinta.ReasonReplayed {
		t.Errorf("another sender: got %q: %s", a.lastReason(), a.story())
	}
	forged := s.log[0]
	forged.User = s.author(b.id)
	s.post(forged) // the same id from someone else
	s.talk(b)
	if got := b.lastReason(); got != quinta.ReasonSenderMismatch && got != quinta.ReasonReplayed {
		t.Errorf("the same id, another sender: got %q", got)
	}
	// Another room, to which the server gives the same key.
	s.room("room2", "d", a.id, b.id)
	r1, r2 := s.rooms["room1"], s.rooms["room2"]
	r2.keyID, r2.subs[b.id].own, r2.subs[a.id].own = r1.keyID, r1.subs[b.id].own, r1.subs[a.id].own
	again = s.log[0]
	again.ID, again.Room, again.User = "another3", "room2", s.author(a.id)
	s.post(again)
	s.talk(b)
	if b.read("the first word") != 1 {
		t.Errorf("another room: %s", b.story())
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, "room1") })
	s.talk(a, b)
	again = s.log[0]
	again.ID = "another4"
	s.post(again)
	s.talk(b)
	if b.read("the first word") != 1 || b.lastReason() != quinta.ReasonReplayed {
		t.Errorf("after a reset: got %q: %s", b.lastReason(), b.story())
	}
}

// TestAttack08KeyOfAnotherRoom: the key of one room is not taken for another, so
// that what is said in the one cannot be said again in the other.
func TestAttack08KeyOfAnotherRoom(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	s.room("room2", "d", a.id, b.id)
	r1, r2 := s.rooms["room1"], s.rooms["room2"]
	r2.keyID, r2.subs[a.id].own = r1.keyID, r1.subs[a.id].own
	s.talk(a)
	a.send("room2", "not under the key of room1")
	s.talk(a, b)
	for _, m := range s.log {
		if m.Room == "room2" {
			t.Errorf("got %+v sent", m)
		}
	}
}

// TestAttack08SealedSender: the string form repeats id and sender under the seal.
func TestAttack08SealedSender(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	for _, d := range []*device{a, b} {
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.SetLegacy(tx, "room1", true) })
	}
	a.send("room1", "from alice")
	s.talk(a)
	forged := s.log[0]
	forged.User = s.author(b.id)
	c := s.login("carol", 4)
	s.join("room1", c.id)
	s.talk(a, c)
	s.post(forged)
	s.talk(c)
	if c.lastReason() != quinta.ReasonSenderMismatch || c.read("from alice") != 0 {
		t.Errorf("got %q: %s", c.lastReason(), c.story())
	}
}

// TestAttack09SwappedKey: the server shows another public key for a pinned user.
// No room key is wrapped for it, it is loud, and after the user has accepted it
// the room gets a new key first.
func TestAttack09SwappedKey(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	evil, err := rocketchat.GeneratePrivateKey(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	s.users[b.id].public = evil.Public().String()
	s.rooms["room1"].subs[b.id].own = ""
	s.queue(s.rooms["room1"], b.id)
	s.talk(a)
	if got := s.rooms["room1"].subs[b.id].suggested; got != "" {
		t.Fatal("got the room key wrapped for a key that changed")
	}
	if e := a.kinds(e2ee.EventKeyChanged); len(e) != 1 || e[0].User != "bob" {
		t.Errorf("got %+v, want one EventKeyChanged of bob", e)
	}
	// Not verified: sending goes on under the old key, which only those have that
	// had it before.
	a.send("room1", "still under the old key")
	s.talk(a)
	old := s.rooms["room1"].keyID
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Acknowledge(tx, "bob") })
	s.talk(a)
	r := s.rooms["room1"]
	if r.keyID == old {
		t.Error("got the old room key given to the new key pair")
	}
	if k, err := rocketchat.Unwrap(evil, r.subs[b.id].suggested); err != nil || k.ID() != r.keyID {
		t.Errorf("got %v, want the new room key after it was accepted", err)
	}
}

// TestAttack09VerifiedKeyChanged: a verified key that changed stops sending.
func TestAttack09VerifiedKeyChanged(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Judge(tx, "bob", quinta.TrustVerified) })
	var mine, theirs rocketchat.PinInfo
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { mine, err = a.m.Pin(tx, "bob"); return nil, err })
	if mine.Fingerprint != b.keys().Fingerprint || mine.Trust != quinta.TrustVerified {
		t.Errorf("got %+v, want %s", mine, b.keys().Fingerprint)
	}
	words := rocketchat.SafetyWords(a.keys().Fingerprint, mine.Fingerprint)
	if got := rocketchat.SafetyWords(b.keys().Fingerprint, a.keys().Fingerprint); len(words) != 12 || strings.Join(got, " ") != strings.Join(words, " ") {
		t.Errorf("got %v and %v, want the same twelve words", got, words)
	}
	evil, err := rocketchat.GeneratePrivateKey(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	s.users[b.id].public = evil.Public().String()
	s.rooms["room1"].subs[b.id].own = ""
	s.queue(s.rooms["room1"], b.id)
	s.talk(a)
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "secret"}}); !errors.Is(err, rocketchat.ErrKeyChanged) {
		t.Errorf("got %v, want ErrKeyChanged", err)
	}
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { theirs, err = a.m.Pin(tx, "bob"); return nil, err })
	if theirs.New != evil.Public().Fingerprint() || theirs.Fingerprint != mine.Fingerprint {
		t.Errorf("got %+v", theirs)
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Judge(tx, "bob", quinta.TrustRejected) })
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Acknowledge(tx, "bob") })
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "after it was accepted"}}); err != nil {
		t.Errorf("got %v after the key was accepted", err)
	}
}

// TestAttack10Suggested offers keys that must not be taken: one that does not
// open, one of another id, and one over a key that is here.
func TestAttack10Suggested(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	r := s.rooms["room1"]
	evil, err := rocketchat.GenerateRoomKey(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := rocketchat.ParsePublicKey(s.users[b.id].public)
	if err != nil {
		t.Fatal(err)
	}
	wrap := func(id string, to rocketchat.PublicKey) string {
		k, err := rocketchat.ParseRoomKey(id, evil.Secret())
		if err != nil {
			t.Fatal(err)
		}
		text, err := k.Wrap(a.rand, to)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	stranger, err := rocketchat.GeneratePrivateKey(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	for what, offer := range map[string]string{
		"over a key that is here": wrap(r.keyID, pub), "another id": wrap("another", pub), "wrapped for another": wrap(r.keyID, stranger.Public()), "no wrapped key": "nonsense",
	} {
		before := s.calls[rocketchat.ReqReject]
		r.subs[b.id].suggested = offer
		s.talk(b)
		if s.calls[rocketchat.ReqReject] != before+1 {
			t.Errorf("%s: got no rejection", what)
		}
	}
	// Nor is a key of another id taken in a room whose key is not here yet.
	s.room("room2", "p", a.id, b.id)
	s.rooms["room2"].keyID = "named"
	s.rooms["room2"].subs[b.id].suggested = wrap("another", pub)
	before := s.calls[rocketchat.ReqReject]
	s.talk(b)
	if s.calls[rocketchat.ReqReject] != before+1 || b.room("room2").HasKey {
		t.Error("another id, before there is a key: got no rejection")
	}
	b.send("room1", "under the good key")
	s.talk(b, a)
	a.wants("under the good key", 1)
}

// TestAttack11TwoCreators: both make the room key at the same time, or reset it;
// one wins, the other adopts it.
func TestAttack11TwoCreators(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "from alice")
	b.send("room1", "from bob")
	for _, d := range []*device{a, b} { // both plan before either is answered
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := d.m.Outgoing(tx); return nil, err })
	}
	s.talk(a, b)
	a.wants("from bob", 1)
	b.wants("from alice", 1)
	for _, d := range []*device{a, b} {
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			if err := d.m.Rotate(tx, "room1"); err != nil {
				return nil, err
			}
			_, err := d.m.Outgoing(tx)
			return nil, err
		})
	}
	a.send("room1", "alice after the resets")
	b.send("room1", "bob after the resets")
	s.talk(a, b)
	s.talk(a, b)
	a.wants("bob after the resets", 1)
	b.wants("alice after the resets", 1)
	s.clear("resets", "from")
}

// TestAttack13NoKeysOnFailure: a fetch that fails, or half an answer, makes no key
// pair.
func TestAttack13NoKeysOnFailure(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, answer := range []rocketchat.Ans{{Code: "internal"}, {Public: "x"}, {Private: "{}"}, {Public: "not a key", Private: "{}"}} {
		s.bent = func(_ *device, q rocketchat.Req, a *rocketchat.Ans) {
			if q.Kind == rocketchat.ReqKeys {
				*a = answer
			}
		}
		a := s.login("alice", 1)
		if s.calls[rocketchat.ReqSetKeys] != 0 || a.keys().Phase != rocketchat.PhaseUnknown {
			t.Errorf("%+v: got %+v and a key pair", answer, a.keys())
		}
		if len(a.kinds(e2ee.EventTrouble)) == 0 {
			t.Errorf("%+v: got nothing told", answer)
		}
	}
	// A server that says success and keeps nothing: the pair is offered again, not
	// made again.
	s = newServer(t)
	drop := true
	s.bent = func(d *device, q rocketchat.Req, a *rocketchat.Ans) {
		if q.Kind == rocketchat.ReqSetKeys && drop {
			drop = false
			s.users[d.id].public, s.users[d.id].private = "", ""
		}
	}
	a := s.login("alice", 1)
	password, print := a.password(), a.keys().Fingerprint
	s.talk(a)
	if a.keys().Phase != rocketchat.PhaseOpen || a.keys().Fingerprint != print || a.password() != password {
		t.Errorf("got %+v", a.keys())
	}
	if _, _, err := rocketchat.OpenPrivateKey(s.users[a.id].private, password, a.id); err != nil {
		t.Errorf("got %v of what the server has", err)
	}
}

// TestAttack15NeverClear: whatever the server says, no word leaves in clear.
func TestAttack15NeverClear(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	s.rooms["room1"].encrypted = false
	a.send("room1", "after encrypted:false")
	s.talk(a)
	s.post(rocketchat.Message{ID: "sysoff", Room: "room1", Type: rocketchat.TypeOff, User: s.author(b.id)})
	s.talk(a)
	a.send("room1", "/after the system message")
	s.talk(a)
	s.clear("after")
	if !a.room("room1").Encrypted {
		t.Error("got the room in clear")
	}
	// Clear text of others in an encrypted room is shown as such.
	s.post(rocketchat.Message{ID: "plain", Room: "room1", Msg: "in clear", User: s.author(b.id)})
	s.talk(a)
	for _, e := range a.kinds(e2ee.EventMessage) {
		if e.Message.ID == "plain" && (e.Message.Weakness != quinta.WeakPlain || e.Message.Encrypted) {
			t.Errorf("got %+v, want it marked", e.Message)
		}
	}
	a.wants("in clear", 1)
	// A room that was never encrypted takes a message only if that is allowed.
	s.room("open", "p", a.id, b.id)
	s.rooms["open"].encrypted = false
	s.talk(a)
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "open", Text: "x"}}); !errors.Is(err, rocketchat.ErrNotEncrypted) {
		t.Errorf("got %v, want ErrNotEncrypted", err)
	}
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "open", Text: "allowed"}, Clear: true}); err != nil {
		t.Fatal(err)
	}
	// Encryption is switched on before it leaves: then it is sealed.
	s.rooms["open"].encrypted = true
	s.talk(a, b)
	s.clear("allowed")
	b.wants("allowed", 1)
}

// TestAttack17Removed: someone who was removed cannot read what comes after, even
// with the ciphertext.
func TestAttack17Removed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b, c := s.login("alice", 1), s.login("bob", 2), s.login("carol", 3)
	s.room("group", "p", a.id, b.id, c.id)
	s.talk(a, b, c)
	a.send("group", "all of us")
	s.talk(a, b, c)
	c.wants("all of us", 1)
	old := s.rooms["group"].keyID
	s.remove("group", c.id)
	a.receive()
	a.send("group", "without carol")
	s.talk(a, b)
	if s.rooms["group"].keyID == old {
		t.Fatal("got the same room key after a member was removed")
	}
	b.wants("without carol", 1)
	last := s.log[len(s.log)-1]
	c.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return c.m.Receive(tx, rocketchat.In{Messages: []rocketchat.Message{last}})
	})
	c.wants("without carol", 0)
	if s.calls[rocketchat.ReqReset] != 1 && s.calls[rocketchat.ReqReset] != 2 {
		t.Errorf("got %d resets", s.calls[rocketchat.ReqReset])
	}
	// Old messages stay readable after the reset, also for one who joins now.
	dave := s.login("dave", 5)
	s.join("group", dave.id)
	dave.at = 0
	s.talk(dave, a, b, dave)
	dave.wants("all of us", 1)
	dave.wants("without carol", 1)
}

// TestAttack17NotAllowed: a member who may not reset the key continues to use it,
// and says so, until one who may has reset it.
func TestAttack17NotAllowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b, c := s.login("alice", 1), s.login("bob", 2), s.login("carol", 3)
	s.room("group", "p", a.id, b.id, c.id)
	s.talk(a, b, c)
	a.send("group", "all of us")
	s.talk(a, b, c)
	s.remove("group", c.id)
	s.talk(b)
	told := false
	for _, e := range b.kinds(e2ee.EventTrouble) {
		told = told || strings.Contains(e.Detail, "may not replace it")
	}
	if !told {
		t.Errorf("got nothing told: %s", b.story())
	}
	b.send("group", "bob goes on")
	s.talk(b, a)
	a.wants("bob goes on", 1)
}

// TestAttack20Flood: inputs with ids and names that are none of the server's are
// ignored.
func TestAttack20Flood(t *testing.T) {
	t.Parallel()
	s, a, _ := talking(t)
	n := len(a.events)
	for _, id := range []string{"", "a/b", "a\x00b", strings.Repeat("x", 200), "a b"} {
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return a.m.Receive(tx, rocketchat.In{Messages: []rocketchat.Message{{ID: quinta.MessageID(id), Room: "room1", Msg: "x", User: s.author(a.id)}},
				Rooms: []rocketchat.RoomState{{ID: quinta.RoomID(id), Encrypted: true}, {ID: "room1", Encrypted: true, KeyID: "a b"}}, Deleted: []rocketchat.Deleted{{Room: "room1", ID: quinta.MessageID(id)}}})
		})
	}
	if len(a.events) != n {
		t.Errorf("got %s", a.story())
	}
}
