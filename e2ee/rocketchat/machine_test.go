package rocketchat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

func TestTwoTalk(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "hello bob")
	s.talk(a, b)
	b.wants("hello bob", 1)
	b.send("room1", "hello alice")
	a.send("room1", "/slash is no command")
	s.talk(a, b)
	a.wants("hello alice", 1)
	b.wants("/slash is no command", 1)
	a.wants("hello bob", 0) // the own message comes as EventSent
	if e := a.kinds(e2ee.EventSent); len(e) != 2 || e[0].Message.Text != "hello bob" || e[0].Message.Txn != "txn hello bob" || !e[0].Message.Encrypted || e[0].Message.ID == "" {
		t.Errorf("got %+v", e)
	}
	s.clear("hello", "slash")
	if s.calls[rocketchat.ReqSetRoomKey] != 1 {
		t.Errorf("got %d room keys, want 1", s.calls[rocketchat.ReqSetRoomKey])
	}
	for _, m := range s.log {
		if c, err := rocketchat.ParseContent(m.Content); err != nil || c.Algorithm != rocketchat.AlgorithmV2 || m.Msg != "" || m.Type != "e2e" {
			t.Errorf("got %+v, %v, want the newest form", m, err)
		}
	}
	// A restart tells nothing twice.
	b.boot()
	b.at = 0
	s.talk(a, b)
	b.wants("hello bob", 1)
}

// TestFirstLogin: the pair is made once, after a clear answer; the password is
// there until it was taken down, and opens the keys on another device.
func TestFirstLogin(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.login("alice", 1)
	info := a.keys()
	if info.Phase != rocketchat.PhaseOpen || !info.Untaken || info.Form != rocketchat.V2 || s.calls[rocketchat.ReqSetKeys] != 1 {
		t.Fatalf("got %+v after %d stores", info, s.calls[rocketchat.ReqSetKeys])
	}
	if s.calls[rocketchat.ReqKeys] != 2 {
		t.Errorf("got %d fetches, want one before and one that reads back", s.calls[rocketchat.ReqKeys])
	}
	password := a.password()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.TookPassword(tx) })
	if a.password() != "" || a.keys().Untaken {
		t.Error("got the password after it was taken")
	}
	second := s.login("alice", 9)
	if second.keys().Phase != rocketchat.PhaseLocked {
		t.Fatalf("got %+v, want a locked pair", second.keys())
	}
	if err := second.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return second.m.Unlock(tx, "not the password") }); !errors.Is(err, rocketchat.ErrPassword) {
		t.Errorf("got %v, want ErrPassword", err)
	}
	second.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return second.m.Unlock(tx, password) })
	if got := second.keys(); got.Phase != rocketchat.PhaseOpen || got.Fingerprint != info.Fingerprint {
		t.Errorf("got %+v, want %s", got, info.Fingerprint)
	}
	second.settle()
	if s.calls[rocketchat.ReqSetKeys] != 1 {
		t.Error("got the pair stored again")
	}
}

// TestV1IsSealedAgain: a key blob of v1 becomes v2 at the first unlock, with the
// same password and the same pair.
func TestV1IsSealedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.device("alice", 1)
	pair, err := rocketchat.GeneratePrivateKey(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	u := s.users[a.id]
	u.public = pair.Public().String()
	if u.private, err = rocketchat.SealPrivateKeyV1(a.rand, pair, "minus mobile dexter", a.id); err != nil {
		t.Fatal(err)
	}
	a.settle()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Unlock(tx, "minus mobile dexter") })
	a.settle()
	if _, form, err := rocketchat.OpenPrivateKey(u.private, "minus mobile dexter", a.id); err != nil || form != rocketchat.V2 {
		t.Errorf("got form %d, %v, want v2", form, err)
	}
	if a.keys().Form != rocketchat.V2 {
		t.Errorf("got %+v", a.keys())
	}
}

// TestOfflineMember: a member who is offline all the time finds the key on the
// server, and no one else needs to be online then.
func TestOfflineMember(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a)
	a.send("room1", "while you slept")
	s.talk(a)
	b.settle()
	b.wants("while you slept", 1)
}

// TestLateJoiner: someone who joins later gets the key from the waiting queue, live.
func TestLateJoiner(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b := s.login("alice", 1), s.login("bob", 2)
	s.room("group", "p", a.id, b.id)
	s.talk(a, b)
	a.send("group", "before carol")
	s.talk(a, b)
	c := s.login("carol", 3)
	s.join("group", c.id)
	c.at = 0 // as one who looks back
	c.settle()
	if c.reason(s.log[0].ID) != quinta.ReasonNoKeyYet {
		t.Errorf("got %q, want no-key-yet", c.reason(s.log[0].ID))
	}
	s.talk(b, c)
	c.wants("before carol", 1)
	c.send("group", "hello all")
	s.talk(c, a, b)
	a.wants("hello all", 1)
	b.wants("hello all", 1)
}

// TestLockedDevice: messages wait for the password with that reason, and open
// when it comes.
func TestLockedDevice(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "for both devices")
	s.talk(a, b)
	second := s.login("bob", 8)
	if got := second.reason(s.log[0].ID); got != quinta.ReasonBackupLocked {
		t.Errorf("got %q, want backup-locked", got)
	}
	if err := second.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "x"}}); !errors.Is(err, rocketchat.ErrNoKeys) {
		t.Errorf("got %v, want ErrNoKeys", err)
	}
	second.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return second.m.Unlock(tx, b.password()) })
	second.wants("for both devices", 1)
}

// TestEditRedactReact: each reaches the other side in the words of the house, and
// a reaction leaves in clear only if that is allowed.
func TestEditRedactReact(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "frist")
	s.talk(a, b)
	id := s.log[0].ID
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "first", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: id}}}); err != nil {
		t.Fatal(err)
	}
	s.talk(a, b)
	b.wants("first", 1)
	react := rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Relation: quinta.Relation{Kind: quinta.RelationReaction, To: id, Key: ":wave:"}}}
	if err := b.put(react); !errors.Is(err, rocketchat.ErrClear) {
		t.Errorf("got %v, want ErrClear", err)
	}
	react.Clear = true
	if err := b.put(react); err != nil {
		t.Fatal(err)
	}
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: id}}}); err != nil {
		t.Fatal(err)
	}
	s.talk(b, a)
	s.talk(b)
	var edit, reaction, redaction bool
	for _, e := range append(b.kinds(e2ee.EventMessage), a.kinds(e2ee.EventMessage)...) {
		m := e.Message
		edit = edit || m.Relation.Kind == quinta.RelationReplace && m.Relation.To == id && m.Text == "first"
		reaction = reaction || m.Relation.Kind == quinta.RelationReaction && m.Relation.Key == ":wave:" && m.Weakness == quinta.WeakPlain && m.Sender == "bob"
		redaction = redaction || m.Relation.Kind == quinta.RelationRedaction && m.Relation.To == id
	}
	if !edit || !reaction || !redaction {
		t.Errorf("got edit %v, reaction %v, redaction %v: %s", edit, reaction, redaction, a.story())
	}
	s.clear("frist", "first")
}

// TestLegacyProfile: the specification's own form is written only where it was
// chosen, and what is read in it is marked.
func TestLegacyProfile(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	for _, d := range []*device{a, b} {
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.SetLegacy(tx, "room1", true) })
	}
	a.send("room1", "as it was written down")
	s.talk(a, b)
	b.wants("as it was written down", 1)
	m := s.log[0]
	if id, err := rocketchat.StringKeyID(m.Msg); err != nil || len(id) != 12 || m.Content != nil {
		t.Errorf("got %+v, %v, want the string form", m, err)
	}
	for _, e := range b.kinds(e2ee.EventMessage) {
		if e.Message.Weakness != quinta.WeakLegacy {
			t.Errorf("got %q, want legacy", e.Message.Weakness)
		}
	}
}

// TestOldServer: on a server whose clients read no v2, a new room is refused with
// that reason.
func TestOldServer(t *testing.T) {
	t.Parallel()
	for version, works := range map[string]bool{"6.14.0": false, "7.12.3": false, "7.13.0": true, "8.8.1": true} {
		s, a, b := pair(t)
		s.version = version
		s.talk(a, b)
		a.send("room1", "hello")
		s.talk(a, b)
		if failed := len(a.kinds(e2ee.EventFailed)); (failed == 0) != works || (b.read("hello") == 1) != works {
			t.Errorf("%s: got %d failures, read %d", version, failed, b.read("hello"))
		}
	}
}

// TestOldRoomIsV1: a room whose key is v1 is written as v1, and labelled so.
func TestOldRoomIsV1(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	k, err := rocketchat.GenerateRoomKeyV1(a.rand)
	if err != nil {
		t.Fatal(err)
	}
	r := s.rooms["room1"]
	r.keyID = k.ID()
	for _, d := range []*device{a, b} {
		pub, err := rocketchat.ParsePublicKey(s.users[d.id].public)
		if err != nil {
			t.Fatal(err)
		}
		if r.subs[d.id].own, err = k.Wrap(d.rand, pub); err != nil {
			t.Fatal(err)
		}
	}
	s.talk(a, b)
	a.send("room1", "an old room")
	s.talk(a, b)
	b.wants("an old room", 1)
	if c, err := rocketchat.ParseContent(s.log[0].Content); err != nil || c.Algorithm != rocketchat.AlgorithmV1 {
		t.Errorf("got %+v, %v", c, err)
	}
	if e := b.kinds(e2ee.EventMessage); len(e) != 1 || e[0].Message.Weakness != quinta.WeakUnauthenticated {
		t.Errorf("got %+v, want it marked", e)
	}
}

// TestLazyUnwrap: a start with many rooms opens no room key that is not needed.
func TestLazyUnwrap(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "one")
	s.talk(a, b)
	fresh := s.login("bob", 7)
	fresh.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return fresh.m.Unlock(tx, b.password()) })
	for _, id := range []quinta.RoomID{"r2", "r3", "r4"} {
		s.room(id, "d", a.id, b.id)
		s.rooms[id].keyID, s.rooms[id].subs[b.id].own = s.rooms["room1"].keyID, s.rooms["room1"].subs[b.id].own
	}
	fresh.settle()
	for _, id := range []quinta.RoomID{"r2", "r3", "r4"} {
		if fresh.room(id).HasKey {
			t.Errorf("%s: got its key unwrapped", id)
		}
	}
}

func TestStoreOfAnother(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.m = rocketchat.New(e2ee.Env{Now: time.Now, Rand: a.rand}, s.author(b.id))
	if err := a.receive(); !errors.Is(err, rocketchat.ErrOtherUser) {
		t.Errorf("got %v, want ErrOtherUser", err)
	}
}

// TestFile: a file goes with the message that confirms it, whose id the server
// makes; the own one is told once.
func TestFile(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "before")
	s.talk(a, b)
	sealer, err := rocketchat.NewFileSealer(a.rand, strings.NewReader("the contents"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(sealer)
	if err != nil {
		t.Fatal(err)
	}
	k, size, err := sealer.Key()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "look"}, File: &rocketchat.UploadedFile{ID: "up1", Name: "notes.txt", MediaType: "text/plain", Size: size, Link: "/file-upload/up1/x", Key: k}}); err != nil {
		t.Fatal(err)
	}
	s.talk(a, b)
	e := b.kinds(e2ee.EventMessage)
	last := e[len(e)-1].Message
	if last.Text != "look" || last.File == nil || last.File.Name != "notes.txt" || last.ID != "ofup1" || last.Kind != quinta.MessageFile {
		t.Fatalf("got %+v", last)
	}
	link, key, err := rocketchat.ParseFileRef(last.File.Ref)
	var out bytes.Buffer
	if err == nil {
		err = rocketchat.OpenFile(&out, key, bytes.NewReader(sealed))
	}
	if err != nil || link != "/file-upload/up1/x" || out.String() != "the contents" {
		t.Errorf("got %q, %q, %v", link, out.String(), err)
	}
	a.wants("look", 0)
	if sent := a.kinds(e2ee.EventSent); len(sent) != 2 || sent[1].Message.ID != "ofup1" || sent[1].Message.File == nil {
		t.Errorf("got %+v", sent)
	}
	s.clear("look", "notes", "contents")
}

// TestGone: a room that is not in a complete list is one that this user left.
func TestGone(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	in := s.news(a.id, a.at)
	in.Complete = true
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Receive(tx, in) })
	if a.room("room1").Left {
		t.Error("got a room that is there as left")
	}
	in.Rooms = nil
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Receive(tx, in) })
	if !a.room("room1").Left {
		t.Error("got a room that is gone as one that is there")
	}
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "x"}}); !errors.Is(err, rocketchat.ErrUnknownRoom) {
		t.Errorf("got %v, want ErrUnknownRoom", err)
	}
}

// TestKeyBeforeMessage: no message leaves under a key that the server does not hold
// for every member with a public key, whether the key is the first of the room or
// one that replaced it. A client that hears a message whose key it cannot fetch
// might make a key of its own.
func TestKeyBeforeMessage(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	c := s.login("carol", 3)
	s.room("room2", "p", a.id, b.id, c.id)
	a.settle()
	sent := 0
	s.bent = func(_ *device, q rocketchat.Req, _ *rocketchat.Ans) {
		if q.Kind != rocketchat.ReqSend {
			return
		}
		sent++
		for id, sub := range s.rooms[q.Room].subs {
			if id != a.id && sub.suggested == "" {
				t.Errorf("%s left before %s had a key of %s", q.Message.ID, id, q.Room)
			}
		}
	}
	for _, id := range []quinta.RoomID{"room1", "room2"} {
		a.send(id, "first "+string(id))
	}
	a.settle()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, "room2") })
	a.send("room2", "after the reset")
	a.settle()
	if sent != 3 {
		t.Errorf("got %d messages, want 3", sent)
	}
}

// TestWaitingInOrder: what waited for a key is told in the order in which it was
// said, whatever its ids.
func TestWaitingInOrder(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.room("room2", "p", a.id, b.id)
	a.settle()
	const n = 12
	for i := range n {
		a.send("room2", fmt.Sprint("word ", i))
		a.settle()
		s.now = s.now.Add(time.Second)
	}
	// The offer does not reach bob before the messages have.
	held := *s.rooms["room2"].subs[b.id]
	s.rooms["room2"].subs[b.id].suggested = ""
	if err := b.receive(); err != nil {
		t.Fatal(err)
	}
	if got := len(b.kinds(e2ee.EventUndecryptable)); got != n {
		t.Fatalf("got %d messages that wait, want %d", got, n)
	}
	*s.rooms["room2"].subs[b.id] = held
	b.settle()
	var got, want []string
	for _, e := range b.kinds(e2ee.EventMessage) {
		got = append(got, e.Message.Text)
	}
	for i := range n {
		want = append(want, fmt.Sprint("word ", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLateReset: a reset that was planned and not sent is withdrawn when another
// member's came first, and no message leaves while one is on its way.
func TestLateReset(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "first")
	s.talk(a, b)
	for _, d := range []*device{a, b} {
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			if err := d.m.Rotate(tx, "room1"); err != nil {
				return nil, err
			}
			_, err := d.m.Outgoing(tx)
			return nil, err
		})
	}
	a.settle()
	key := s.rooms["room1"].keyID
	b.send("room1", "second")
	s.talk(b, a)
	if s.calls[rocketchat.ReqReset] != 1 || s.rooms["room1"].keyID != key {
		t.Errorf("got %d resets, want one", s.calls[rocketchat.ReqReset])
	}
	a.wants("second", 1)
	if c, err := rocketchat.ParseContent(s.log[len(s.log)-1].Content); err != nil || c.KeyID != key {
		t.Errorf("got %+v, %v, want a message under the new key", c, err)
	}
}
