// The attacks that every implementation must have a test for, as far as a
// client can meet them, and the test that stands for each. Those of this
// package go over the wire, against the client as it is; the others are tests
// of the part that meets them, where it cannot be reached from a server.
//
//	 1  a member whom nobody added        TestAttack01GhostMember; e2ee/matrix TestAttack01GhostUser
//	 2  a device that the user has not    TestAttack02GhostDevice; e2ee/matrix TestAttack02ServerAddsDevice
//	 3  identifiers mixed up              e2ee/sas attack_test.go; e2ee/matrix TestAttack03DeviceNamedAsKey
//	 4  foreign forwarded keys            TestAttack04ForwardedKey; e2ee/matrix TestAttack04Forwarded
//	 5  keys outside of Olm               TestAttack05KeyInClear; e2ee/matrix TestAttack05OverOlmOnly
//	 6  a planted secret                  TestAttack06FakedSecret; e2ee/matrix TestAttack06FakedSecret
//	 7  bits flipped in files, secrets    TestAttack07FlippedFile; e2ee/attachment, e2ee/secretstorage
//	 8  backup entries changed            e2ee/keybackup, e2ee/matrix backup_test.go
//	 9  the session of another            TestAttack09ForgedSender; e2ee/matrix TestAttack09*
//	10  device keys in the payload        e2ee/matrix TestAttack10SenderDeviceKeys: inside of Olm
//	11  unknown key-share                 TestAttack11ForgedToDevice; e2ee/matrix TestAttack11*
//	12  a message shown again             TestAttack12Replay
//	13  a message moved to another room   TestAttack13RoomMove
//	14  pre-key messages shown again      TestAttack14ReplayToDevice; e2ee/matrix TestAttack14*
//	15  weak keys                         TestAttack15WeakOneTimeKeys, TestSwappedOneTimeKeys
//	16  malleable signatures              key, e2ee/megolm attack_test.go
//	17  timing, secrets in logs           key
//	18  malformed messages                e2ee/olm, e2ee/megolm hostile_test.go and fuzzing
//	19  memory bombs                      e2ee/matrix TestAttack19MemoryBombs
//	20  a man in the middle of SAS        TestAttack20SwappedVerificationKey; e2ee/sas attack_test.go
//	21  an identity that changes          TestAttack21SwappedIdentity, TestAttack21SwappedDeviceKeys
//	22  history for the unverified        there is no sharing of history
//	23  hostile events                    TestAttack23HostileEvents; fuzzing of e2ee/matrix
//	24  attacks on the server             network/matrix/matrixserver
//	25  encryption switched off           TestAttack25*; matrixclient closed_test.go
//
// What a server can do beside: TestWithheldKeys, TestWithheldMessages,
// TestReordered, TestWrongDevice, TestAnswersLate, TestAnswersTwice,
// TestWithheldChanges.
package matrix_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	hostile "github.com/quinta-chat/quinta/testkit/hostile/matrix"
)

func encrypted(e hostile.Event) bool { return e.Type == "m.room.encrypted" && e.Room != "" }
func overOlm(e hostile.Event) bool   { return e.Type == "m.room.encrypted" && e.Room == "" }

// TestAttack01GhostMember adds someone to the room. Alice is told before
// anything is sealed for him, and the list of members has him.
func TestAttack01GhostMember(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	ghost := alice.server.NewForger("@ghost:hs1", "GHOST")
	alice.server.Ghost(ghost)
	alice.server.AddMember(string(room), ghost.User)
	alice.sees("word that the room has changed", func(e e2ee.Event) bool {
		if e.Kind != e2ee.EventRoom || e.Message.Room != room {
			return false
		}
		rooms, err := alice.s.Rooms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rooms {
			for _, m := range r.Members {
				if m == quinta.UserID(ghost.User) {
					return true
				}
			}
		}
		return false
	})
	if alice.sealed("GHOST") != 0 {
		t.Error("keys were sealed for the new member before anything was said")
	}
	goesOn(alice, bob, room)
}

// TestAttack02GhostDevice adds a device to Bob. Alice is told of it before any
// key is sealed for it.
func TestAttack02GhostDevice(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	ghost := alice.server.NewForger(bob.user(), "GHOST")
	alice.server.Ghost(ghost)
	alice.server.Announce(bob.user())
	e := alice.notices(e2ee.EventDevice, bob.s.Self().User, "new")
	if e.Device != "GHOST" {
		t.Errorf("got device %s, want the one that was added", e.Device)
	}
	if alice.sealed("GHOST") != 0 {
		t.Error("keys were sealed for the device before its user was told of it")
	}
	// Rejected, it gets none.
	if err := alice.s.Judge(t.Context(), bob.s.Self().User, "GHOST", quinta.TrustRejected); err != nil {
		t.Fatal(err)
	}
	goesOn(alice, bob, room)
	if alice.sealed("GHOST") != 0 {
		t.Error("keys were sealed for a rejected device")
	}
}

// TestAttack04ForwardedKey gives Bob a forwarded key that no one asked for, in
// clear and by a device that he does not know.
func TestAttack04ForwardedKey(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	eve := bob.server.NewForger(alice.user(), alice.device())
	session := bob.server.NewRoomSession(eve, string(room))
	forwarded := session.Key()
	forwarded["sender_key"], forwarded["sender_claimed_ed25519_key"], forwarded["forwarding_curve25519_key_chain"] = "x", eve.Fingerprint(), []any{}
	bob.server.Hand("m.forwarded_room_key", bob.user(), forwarded)
	bob.server.Say(string(room), session.Event(alice.user(), "$forged", "forged"))
	if e := bob.hears(quinta.ReasonNoKeyYet); e.Message.ID != "$forged" {
		t.Errorf("got %+v, want the forged message", e)
	}
	goesOn(alice, bob, room)
}

// TestAttack05KeyInClear gives Bob a room key in clear.
func TestAttack05KeyInClear(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	session := bob.server.NewRoomSession(bob.server.NewForger(alice.user(), alice.device()), string(room))
	bob.server.Hand("m.room_key", alice.user(), session.Key())
	bob.server.Say(string(room), session.Event(alice.user(), "$forged", "forged"))
	if e := bob.hears(quinta.ReasonNoKeyYet); e.Message.ID != "$forged" {
		t.Errorf("got %+v, want the forged message", e)
	}
	goesOn(alice, bob, room)
}

// TestAttack06FakedSecret gives Bob the key of a backup that the server can
// read. There is nothing to say: it is as if it had never come.
func TestAttack06FakedSecret(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	bob.server.Hand("m.secret.send", bob.user(), hostile.Object{"request_id": "1", "secret": strings.Repeat("A", 43)})
	bob.server.Hand("m.secret.send", bob.user(), hostile.Object{"request_id": "1", "secret": strings.Repeat("A", 43), "name": "m.megolm_backup.v1"})
	goesOn(alice, bob, room)
	for _, r := range bob.server.Seen() {
		if strings.Contains(r.Path, "/room_keys/keys") && r.Method == http.MethodPut {
			t.Error("room keys went into a backup that no one made")
		}
	}
}

// TestAttack07FlippedFile changes one bit of a file.
func TestAttack07FlippedFile(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	txn, err := alice.s.Send(t.Context(), room, client.Draft{Text: "a file", File: &client.Upload{Name: "f", Size: -1, From: strings.NewReader("the contents")}})
	if err != nil {
		t.Fatal(err)
	}
	alice.sees("answer", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn })
	f := bob.reads("a file").File
	bob.server.Proxy.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.Contains(r.URL.Path, "/media/download/") && len(b) > 0 {
			b[len(b)-1] ^= 1
		}
		return status, b
	})
	var got bytes.Buffer
	if err := bob.s.Fetch(t.Context(), f, &got); err == nil {
		t.Error("a changed file was accepted")
	}
	if got.Len() != 0 {
		t.Errorf("got %d bytes of a changed file, want none", got.Len())
	}
}

// TestAttack09ForgedSender shows a message of Alice as one of Carol.
func TestAttack09ForgedSender(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	carol := meets(t, alice.server.URL, "carol")
	if err := alice.s.Invite(t.Context(), room, carol.s.Self().User); err != nil {
		t.Fatal(err)
	}
	if _, err := carol.s.Join(t.Context(), string(room)); err != nil {
		t.Fatal(err)
	}
	bob.server.ForgeSender(func(e hostile.Event) bool { return encrypted(e) && e.Sender == alice.user() }, carol.user())
	m := alice.sends(room, "I owe you ten")
	if e := bob.hears(quinta.ReasonSenderMismatch); e.Message.ID != m.ID {
		t.Errorf("got %+v, want the message with the wrong sender", e)
	}
	if bob.saw("I owe you ten") != 0 {
		t.Error("a message was shown under another sender")
	}
	bob.server.Repent()
	goesOn(alice, bob, room)
}

// TestAttack11ForgedToDevice says that the key of Alice's session came from
// Carol.
func TestAttack11ForgedToDevice(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	carol := meets(t, alice.server.URL, "carol")
	if err := alice.s.Invite(t.Context(), room, carol.s.Self().User); err != nil {
		t.Fatal(err)
	}
	if _, err := carol.s.Join(t.Context(), string(room)); err != nil {
		t.Fatal(err)
	}
	carol.sends(room, "I am new")
	bob.reads("I am new")
	if err := carol.s.Leave(t.Context(), room); err != nil { // so that Alice takes new keys
		t.Fatal(err)
	}
	alice.sees("word that Carol left", func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventRoom && e.Message.Room == room && !alice.has(room, carol)
	})
	bob.server.ForgeSender(overOlm, carol.user())
	m := alice.sends(room, "under a stolen name")
	if e := bob.hears(quinta.ReasonNoKeyYet); e.Message.ID != m.ID {
		t.Errorf("got %+v, want the message whose key was not taken", e)
	}
}

// has reports whether someone is in a room as a person knows it.
func (p *person) has(room quinta.RoomID, other *person) bool {
	p.t.Helper()
	rooms, err := p.s.Rooms(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range rooms {
		for _, m := range r.Members {
			if r.ID == room && m == other.s.Self().User {
				return true
			}
		}
	}
	return false
}

// TestAttack12Replay shows each message again under another id.
func TestAttack12Replay(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	bob.server.Replay(func(room string) string { return room })
	alice.sends(room, "pay once")
	if e := bob.hears(quinta.ReasonReplayed); !strings.HasPrefix(string(e.Message.ID), "$replay") {
		t.Errorf("got %+v, want the one that was shown again", e)
	}
	bob.reads("pay once")
	if n := bob.saw("pay once"); n != 1 {
		t.Errorf("got the message %d times, want once", n)
	}
}

// TestAttack13RoomMove shows each message in another room of the two.
func TestAttack13RoomMove(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	other := alice.invites(bob)
	alice.sends(other, "another matter")
	bob.reads("another matter")
	bob.server.Replay(func(string) string { return string(other) })
	alice.sends(room, "yes")
	e := bob.sees("message that was moved", func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventUndecryptable && e.Message.Room == other
	})
	if e.Reason != quinta.ReasonNoKeyYet && e.Reason != quinta.ReasonSenderMismatch {
		t.Errorf("got reason %s, want that the key is of another room", e.Reason)
	}
	bob.reads("yes")
	if n := bob.saw("yes"); n != 1 {
		t.Errorf("got the message %d times, want once", n)
	}
}

// TestAttack14ReplayToDevice brings every message to the device twice. The
// second one says nothing new, and nothing is said of it.
func TestAttack14ReplayToDevice(t *testing.T) {
	t.Parallel()
	alice, bob, _ := couple(t)
	bob.server.ReplayToDevice()
	other := alice.invites(bob)
	alice.sends(other, "with a new key")
	bob.reads("with a new key")
	goesOn(alice, bob, other)
}

// TestAttack15WeakOneTimeKeys gives out keys with which everyone knows the
// secret: nothing is sealed to them, and Bob is told why he cannot read.
func TestAttack15WeakOneTimeKeys(t *testing.T) {
	t.Parallel()
	refusesOneTimeKeys(t, func(s *hostile.Server) { s.WeakOneTimeKeys() })
}

// TestSwappedOneTimeKeys gives out one-time keys of the server's own.
func TestSwappedOneTimeKeys(t *testing.T) {
	t.Parallel()
	refusesOneTimeKeys(t, func(s *hostile.Server) { s.SwapOneTimeKeys(s.NewForger("@bob:hs1", "X")) })
}

func refusesOneTimeKeys(t *testing.T, turns func(s *hostile.Server)) {
	t.Helper()
	alice, bob, room := couple(t)
	carol := meets(t, alice.server.URL, "carol")
	turns(alice.server)
	if err := alice.s.Invite(t.Context(), room, carol.s.Self().User); err != nil {
		t.Fatal(err)
	}
	if _, err := carol.s.Join(t.Context(), string(room)); err != nil {
		t.Fatal(err)
	}
	alice.sees("word that Carol came", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && alice.has(room, carol) })
	alice.sends(room, "for those who can")
	bob.reads("for those who can")
	if alice.sealed(carol.device()) != 0 {
		t.Error("a key was sealed to a one-time key that Carol did not sign")
	}
	carol.sees("word that it cannot be read", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable })
}

// TestAttack20SwappedVerificationKey stands in the middle of a verification.
func TestAttack20SwappedVerificationKey(t *testing.T) {
	t.Parallel()
	alice, _, _ := couple(t)
	laptop := returns(t, alice.server.URL, "alice")
	swap := func(content hostile.Object) { content["key"] = strings.Repeat("B", 42) + "E" }
	alice.server.Spoil(func(e hostile.Event) bool { return e.Type == "m.key.verification.key" }, swap)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	yes := func(context.Context, client.ShortStrings) (bool, error) { return true, nil }
	answered := make(chan error, 1)
	go func() {
		answered <- laptop.s.AwaitVerify(ctx, func(quinta.Device) bool { return true }, yes)
	}()
	if err := alice.s.Verify(ctx, "", laptop.s.Self().ID, yes); err == nil || ctx.Err() != nil {
		t.Errorf("got %v, want the verification to fail", err)
	}
	if err := <-answered; err == nil || ctx.Err() != nil {
		t.Errorf("got %v, want the other side to be told", err)
	}
	devices, err := alice.s.Devices(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if d.ID == laptop.s.Self().ID && d.Trust >= quinta.TrustVerified {
			t.Error("the device counts as verified")
		}
	}
}

// TestAttack21SwappedDeviceKeys lists other keys for Bob's device. Alice is
// told, and nothing is sealed to them.
func TestAttack21SwappedDeviceKeys(t *testing.T) {
	t.Parallel()
	alice, bob, _ := couple(t)
	alice.server.Ghost(alice.server.NewForger(bob.user(), bob.device()))
	alice.server.Announce(bob.user())
	if e := alice.notices(e2ee.EventKeyChanged, bob.s.Self().User, "keys changed"); e.Device != bob.s.Self().ID {
		t.Errorf("got device %s, want Bob's", e.Device)
	}
	before := alice.sealed(bob.device())
	other, err := alice.s.Create(t.Context(), client.NewRoom{Invite: []quinta.UserID{bob.s.Self().User}})
	if err != nil {
		t.Fatal(err)
	}
	alice.sends(other, "is it you")
	if n := alice.sealed(bob.device()); n != before {
		t.Error("a key was sealed for a device whose keys had changed")
	}
}

// TestAttack21SwappedIdentity gives Bob another identity than the one that Alice
// saw first. She is told, Bob's devices get no keys, which he is told, and all
// is well when she says that it is right so.
func TestAttack21SwappedIdentity(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	alice.server.SwapIdentity(bob.user()) // the one that Alice takes for Bob's
	alice.server.Announce(bob.user())
	alice.identityOf(bob)
	goesOn(alice, bob, room)
	alice.server.SwapIdentity(bob.user()) // and the other one
	alice.server.Announce(bob.user())
	alice.notices(e2ee.EventKeyChanged, bob.s.Self().User, "")
	m := alice.sends(room, "only for the Bob that I know")
	if e := bob.hears(quinta.ReasonWithheld); e.Message.ID != m.ID {
		t.Errorf("got %+v, want the message whose key was withheld", e)
	}
	if err := alice.s.Acknowledge(t.Context(), bob.s.Self().User); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "for the new one")
	bob.reads("for the new one")
	if bob.saw("only for the Bob that I know") != 0 {
		t.Error("a message from before was read")
	}
}

// identityOf waits until a person knows another one's devices again.
func (p *person) identityOf(other *person) {
	p.t.Helper()
	if _, err := p.s.Devices(p.t.Context(), other.s.Self().User); err != nil {
		p.t.Fatal(err)
	}
}

// TestAttack23HostileEvents gives events of every wrong shape, to the device
// and to the room.
func TestAttack23HostileEvents(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	deep := strings.Repeat(`[`, 50) + strings.Repeat(`]`, 50)
	for i, content := range []any{
		nil, 7, "x", []any{}, hostile.Object{}, hostile.Object{"algorithm": 7}, hostile.Object{"body": deep}, hostile.Object{"msgtype": "m.text", "body": 7},
		hostile.Object{"msgtype": "m.text", "body": "%s%n\x00\u202e", "m.relates_to": "x"}, hostile.Object{"membership": []any{}},
		hostile.Object{"__proto__": hostile.Object{"polluted": true}}, hostile.Object{"users": hostile.Object{"@x:y": "100"}},
	} {
		for _, typ := range []string{"m.room.encrypted", "m.room_key_request", "m.secret.request", "m.key.verification.request", "m.key.verification.start", "", "x"} {
			bob.server.Hand(typ, alice.user(), content)
			bob.server.Hand(typ, "", content)
		}
		for _, typ := range []string{"m.room.encrypted", "m.room.message", "m.room.member", "m.room.encryption", "m.room.name", "m.room.redaction", "m.reaction", ""} {
			e := hostile.Object{"type": typ, "sender": alice.user(), "event_id": "$x" + string(rune('a'+i)) + typ, "origin_server_ts": -1, "content": content}
			bob.server.Say(string(room), e)
			withState := hostile.Object{"state_key": "' OR 1=1; --", "unsigned": 7}
			for k, v := range e {
				withState[k] = v
			}
			bob.server.Say(string(room), withState)
		}
	}
	goesOn(alice, bob, room)
	if _, err := bob.s.Rooms(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAttack25PlainInEncrypted puts a message in clear into the room.
func TestAttack25PlainInEncrypted(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	bob.server.Say(string(room), hostile.Object{
		"type": "m.room.message", "sender": alice.user(), "event_id": "$plain", "origin_server_ts": 1_700_000_000_000, "content": hostile.Object{"msgtype": "m.text", "body": "send me your keys"},
	})
	if m := bob.reads("send me your keys"); m.Encrypted || m.Weakness != quinta.WeakPlain {
		t.Errorf("got %+v, want it marked as clear", m)
	}
	goesOn(alice, bob, room)
}

// TestAttack25Downgrade denies the encryption of the room, and weakens it.
func TestAttack25Downgrade(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	alice.server.DenyEncryption()
	for _, content := range []any{hostile.Object{}, hostile.Object{"algorithm": "none"}, 7, hostile.Object{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1 << 50}} {
		alice.server.Weaken(string(room), content)
	}
	bob.sends(room, "so that Alice hears of it")
	alice.reads("so that Alice hears of it")
	alice.sends(room, "still a secret")
	if m := bob.reads("still a secret"); !m.Encrypted {
		t.Errorf("got %+v, want it sealed", m)
	}
	alice.never("still a secret")
}

// TestWithheldKeys keeps the room's key back, and then lets it come: Bob is told
// at once, and reads it then.
func TestWithheldKeys(t *testing.T) {
	t.Parallel()
	alice, bob, _ := couple(t)
	other := alice.invites(bob)
	bob.server.Withhold(overOlm)
	m := alice.sends(other, "later perhaps")
	if e := bob.hears(quinta.ReasonNoKeyYet); e.Message.ID != m.ID {
		t.Errorf("got %+v, want the message without a key", e)
	}
	if bob.saw("later perhaps") != 0 {
		t.Error("it was read without a key")
	}
}

// TestWithheldMessages keeps messages back: what comes after them is read, in
// its order.
func TestWithheldMessages(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	bob.server.Withhold(encrypted)
	alice.sends(room, "kept back")
	bob.sends(room, "are you there")
	alice.reads("are you there")
	bob.server.Repent()
	goesOn(alice, bob, room)
}

// TestWithheldChanges does not tell Alice of Bob's new device. It cannot read,
// and says so.
func TestWithheldChanges(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	alice.server.WithholdChanges()
	laptop := returns(t, bob.server.URL, "bob")
	laptop.sees("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
	m := alice.sends(room, "to whom I know")
	bob.reads("to whom I know")
	e := laptop.sees("word that it cannot be read", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable && e.Message.ID == m.ID })
	if e.Reason == "" {
		t.Error("got no reason")
	}
}

// TestReordered brings everything last first.
func TestReordered(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	bob.server.Reorder()
	other := alice.invites(bob)
	for _, text := range []string{"one", "two", "three"} {
		alice.sends(other, text)
		alice.sends(room, text+" too")
	}
	for _, text := range []string{"one", "two", "three", "one too", "two too", "three too"} {
		bob.reads(text)
		if n := bob.saw(text); n != 1 {
			t.Errorf("got %q %d times, want once", text, n)
		}
	}
}

// TestWrongDevice gives the key for Bob's device to his other one: the one does
// not open what is sealed for the other, which is told that it lacks a key.
func TestWrongDevice(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	laptop := returns(t, bob.server.URL, "bob")
	laptop.sees("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
	alice.notices(e2ee.EventDevice, bob.s.Self().User, "new")
	alice.server.Misdeliver(bob.user(), bob.device(), laptop.device())
	other := alice.invites(bob)
	alice.sends(other, "for one of you")
	bob.hears(quinta.ReasonNoKeyYet)
	if bob.saw("for one of you") != 0 {
		t.Error("a message was read whose key went elsewhere")
	}
	alice.server.Repent()
	goesOn(alice, bob, room)
}

// TestAnswersLate carries requests out, and has the client believe that they
// were not: all of it is repeated with the same bytes, and nothing happens
// twice.
func TestAnswersLate(t *testing.T) {
	t.Parallel()
	alice, bob, _ := couple(t)
	other := alice.invites(bob)
	for _, part := range []string{"/keys/claim", "/keys/query", "/sendToDevice/", "/send/", "/sync"} {
		alice.server.AnswerLate(part, 2)
	}
	alice.sends(other, "once only")
	alice.sees("trouble", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble })
	bob.reads("once only")
	alice.sends(other, "end")
	bob.reads("end")
	if n := bob.saw("once only"); n != 1 {
		t.Errorf("got the message %d times, want once", n)
	}
	bodies := map[string]string{}
	for _, r := range alice.server.Seen() {
		if r.Method != http.MethodPut {
			continue
		}
		if old, ok := bodies[r.Path]; ok && old != string(r.Body) {
			t.Errorf("%s was repeated with other bytes", r.Path)
		}
		bodies[r.Path] = string(r.Body)
	}
}

// TestAnswersTwice gives answers of /sync again, which lead back.
func TestAnswersTwice(t *testing.T) {
	t.Parallel()
	alice, bob, room := couple(t)
	for _, text := range []string{"one", "two", "three"} {
		alice.sends(room, text)
		bob.reads(text)
		bob.server.AnswerTwice(2)
	}
	goesOn(alice, bob, room)
	for _, text := range []string{"one", "two", "three", "on we go"} {
		if n := bob.saw(text); n != 1 {
			t.Errorf("got %q %d times, want once", text, n)
		}
	}
}
