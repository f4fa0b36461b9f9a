package keysrv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

func TestTalk(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "one", "two")
	if got := a.take(e2ee.EventSent); len(got) != 2 || got[0].Message.Txn != "txn one" {
		t.Fatalf("got %+v, want two messages sent", got)
	}
	b.settle()
	events := b.reads("one", "two")
	m := events[0].Message
	if m.Room != quinta.RoomID(romeo) || m.Sender != romeo || m.Device != a.id || !m.Encrypted || m.Trust != quinta.TrustPinned || m.Weakness != "" {
		t.Errorf("got %+v", m)
	}
	if p.creates != 1 {
		t.Errorf("two messages took %d keys, want 1", p.creates)
	}
	b.says(b.direct(romeo), "three")
	a.settle()
	a.reads("three")
	// A second message under a known object asks for nothing.
	asked := 0
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if d == b && r.Kind == keysrv.ReqObjects {
			asked++
		}
		return keysrv.Ans{}, false
	}
	a.says(room, "four")
	b.settle()
	b.reads("four")
	if asked != 0 {
		t.Errorf("a known key was asked for %d times, want 0", asked)
	}
}

func TestTalkToOneself(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	a := p.login(romeo, 1)
	second := p.login(romeo, 2)
	a.approve(second)
	second.hint(romeo)
	second.take()
	a.says(a.direct(romeo), "note")
	second.settle()
	second.reads("note")
	a.settle()
	a.reads()
}

func TestEscrow(t *testing.T) {
	t.Parallel()
	_, a, b, room := couple(t)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		if _, _, err := a.m.Escrow(tx, juliet); !errors.Is(err, keysrv.ErrDowngrade) {
			t.Errorf("a sealed conversation: got %v, want ErrDowngrade", err)
		}
		return nil, nil
	})
	_ = room
	c := a.p.login(tybalt, 3)
	var r quinta.RoomID
	c.do(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		r, events, err = c.m.Escrow(tx, juliet)
		return events, err
	})
	c.says(r, "in escrow")
	b.settle()
	m := b.reads("in escrow")[0].Message
	if m.Weakness != quinta.WeakKeySource || m.Trust != quinta.TrustUnknown {
		t.Errorf("got %q, %v; want a message whose key proves no one", m.Weakness, m.Trust)
	}
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		i, err := b.m.Room(tx, quinta.RoomID(tybalt))
		if err != nil || i.Mode != keysrv.ModeEscrow {
			t.Errorf("got %q, %v; want escrow", i.Mode, err)
		}
		return nil, nil
	})
}

// TestRotation: the key changes after so many messages, after so long, when it
// is requested, and when a device goes.
func TestRotation(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	key := func() string {
		var id string
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			i, err := a.m.Room(tx, room)
			id = i.Key
			return nil, err
		})
		return id
	}
	a.says(room, "0")
	first := key()
	for i := 1; i < 100; i++ {
		a.says(room, fmt.Sprint(i))
	}
	if key() != first {
		t.Error("the key changed within 100 messages")
	}
	a.says(room, "100")
	second := key()
	if second == first {
		t.Error("the key did not change after 100 messages")
	}
	p.later(24 * time.Hour)
	a.says(room, "a day later")
	third := key()
	if third == second {
		t.Error("the key did not change after a day")
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, room) })
	a.says(room, "rotated")
	fourth := key()
	if fourth == third {
		t.Error("the key did not change when it was asked for")
	}
	b2 := p.login(juliet, 4)
	b.approve(b2)
	a.hint(juliet)
	a.says(room, "with a new device")
	if key() != fourth {
		t.Error("the key changed for a new device, which could have got a copy")
	}
	p.devices[juliet][1].Retired = true
	a.hint(juliet)
	a.says(room, "without it")
	if key() == fourth {
		t.Error("the key did not change when a device went")
	}
	b2.settle()
	for _, e := range b2.take(e2ee.EventMessage) {
		if e.Message.Text == "without it" {
			t.Error("a device that was signed out reads the next message")
		}
	}
}

// TestNewDeviceReadsAll: a new device reads nothing before it is approved, says
// so, and reads everything afterwards, without anyone doing more.
func TestNewDeviceReadsAll(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "old 1", "old 2")
	b.settle()
	b.reads("old 1", "old 2")
	second := p.login(juliet, 4)
	events := second.told(quinta.ReasonNoKeyYet, quinta.ReasonNoKeyYet)
	if !has(events, e2ee.EventTrouble) {
		t.Errorf("got %+v, want that the device is not approved", events)
	}
	b.approve(second)
	second.hint(juliet)
	b.hint()
	p.later(time.Minute)
	second.settle()
	second.reads("old 1", "old 2")
	a.hint(juliet)
	a.says(room, "new")
	second.settle()
	if m := second.reads("new")[0].Message; m.Trust != quinta.TrustPinned {
		t.Errorf("got %v, want pinned", m.Trust)
	}
	// What it writes itself is signed by the device that is pinned.
	second.says(second.direct(romeo), "from the second")
	a.settle()
	if m := a.reads("from the second")[0].Message; m.Trust != quinta.TrustSigned {
		t.Errorf("got %v, want signed", m.Trust)
	}
	b.settle()
	if m := b.reads("new", "from the second")[1].Message; m.Sender != juliet || m.Trust != quinta.TrustVerified {
		t.Errorf("got %+v, want this user's own message from the device that they approved", m)
	}
}

// TestPeerGivesCopies: a device of the peer gives copies if no own one is there.
func TestPeerGivesCopies(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "old")
	b.settle()
	b.take()
	second := p.login(juliet, 4)
	b.approve(second)
	second.hint(juliet)
	second.take()
	a.hint(juliet)
	p.later(time.Minute)
	second.settle()
	second.reads("old")
}

func TestOrderAndNoDevice(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	a := p.login(romeo, 1)
	room := a.direct(juliet)
	a.post(room, "one")
	a.post(room, "two")
	a.settle()
	if len(p.archive) != 0 {
		t.Fatal("a message left for a user without a device")
	}
	if events := a.take(e2ee.EventTrouble); len(events) != 1 || !strings.Contains(events[0].Detail, "no device") {
		t.Errorf("got %+v, want one word that it waits", events)
	}
	b := p.login(juliet, 2)
	p.later(time.Minute)
	a.flush()
	b.settle()
	b.reads("one", "two")
}

func TestVerifiedOnly(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	a := p.device(romeo, 1, keysrv.Policy{VerifiedOnly: true})
	a.settle()
	b := p.login(juliet, 2)
	room := a.direct(juliet)
	a.says(room, "secret")
	if len(p.archive) != 0 {
		t.Fatal("a message left for a device that no one compared")
	}
	a.decide(b, keysrv.DecideVerified)
	p.later(time.Minute)
	a.flush()
	b.settle()
	b.reads("secret")
}

// TestVerifiedUserWithStrangeDevice: nothing is sent to a verified user who has
// a device in doubt, until that was judged.
func TestVerifiedUserWithStrangeDevice(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "one")
	a.decide(b, keysrv.DecideVerified)
	strange := p.login(juliet, 9)
	a.take()
	a.hint(juliet)
	if !has(a.take(), e2ee.EventKeyChanged) {
		t.Error("a device in doubt made no event")
	}
	err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, a.m.Send(tx, quinta.Message{Room: room, Text: "two"})
	})
	if !errors.Is(err, keysrv.ErrKeyChanged) {
		t.Errorf("got %v, want ErrKeyChanged", err)
	}
	a.decide(strange, keysrv.DecideRejected)
	a.says(room, "three")
	b.settle()
	b.reads("one", "three")
	a.decide(strange, keysrv.DecideNone)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Acknowledge(tx, juliet) })
	a.says(room, "four")
	b.settle()
	b.reads("four")
}

func TestLeaveAndBack(t *testing.T) {
	t.Parallel()
	_, a, b, room := couple(t)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Leave(tx, room) })
	rooms := func() (list []quinta.RoomID) {
		a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { list, err = a.m.Rooms(tx); return nil, err })
		return list
	}
	if len(rooms()) != 0 {
		t.Error("a conversation that was left is listed")
	}
	b.says(b.direct(romeo), "are you there")
	a.settle()
	a.reads("are you there")
	if len(rooms()) != 1 {
		t.Error("a conversation in which someone wrote is not listed")
	}
}

func TestMessagesOfEveryKind(t *testing.T) {
	t.Parallel()
	_, a, b, room := couple(t)
	for _, m := range []quinta.Message{
		{Kind: quinta.MessageNotice, Text: "n"},
		{Kind: quinta.MessageEmote, Text: "e"},
		{Text: "reply", Relation: quinta.Relation{Kind: quinta.RelationReply, To: "x"}, Mentions: []quinta.UserID{juliet}},
		{Kind: quinta.MessageReaction, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: "x", Key: "👍"}},
		{Type: "org.example", Body: []byte(`{"a":1}`)},
	} {
		m.Room = room
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Send(tx, m) })
		a.flush()
		b.settle()
		got := b.take(e2ee.EventMessage)
		if len(got) != 1 || got[0].Message.Text != m.Text || got[0].Message.Relation != m.Relation || string(got[0].Message.Body) != string(m.Body) || got[0].Message.Type != m.Type || len(got[0].Message.Mentions) != len(m.Mentions) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
	for _, m := range []quinta.Message{{Kind: "shout"}, {Type: "x", Body: []byte(`{"a":1.5}`)}, {Text: strings.Repeat("x", 200<<10)}} {
		m.Room = room
		if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Send(tx, m) }); err == nil {
			t.Errorf("%.20v: got no error", m)
		}
	}
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, a.m.Send(tx, quinta.Message{Room: "nobody@nowhere"})
	}); !errors.Is(err, keysrv.ErrUnknownConversation) {
		t.Errorf("got %v, want ErrUnknownConversation", err)
	}
}

// TestRestored: after an old copy of the store came back no key is used again,
// and what was sent since is read from the archive.
func TestRestored(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "one")
	b.settle()
	old := a.store.Snapshot()
	a.post(room, "two")
	a.flush()
	used := p.archive[1].item.ObjectID
	a.store = old
	a.boot()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Restored(tx) })
	a.take()
	a.settle()
	a.reads("two")
	a.says(room, "three")
	if id := p.archive[2].item.ObjectID; id == used {
		t.Error("a key was used again after an old copy came back")
	}
	b.settle()
	b.reads("one", "two", "three")
}

func TestOtherDevice(t *testing.T) {
	t.Parallel()
	_, a, _, _ := couple(t)
	m := keysrv.New(e2ee.Env{Now: time.Now, Rand: a.rand}, juliet, keysrv.Policy{})
	err := a.store.Update(context.Background(), func(tx e2ee.Tx) error { _, err := m.Outgoing(tx); return err })
	if !errors.Is(err, keysrv.ErrOtherDevice) {
		t.Errorf("got %v, want ErrOtherDevice", err)
	}
	err = a.store.Update(context.Background(), func(tx e2ee.Tx) error { _, err := a.m.Begin(tx); return err })
	if !errors.Is(err, keysrv.ErrOtherDevice) {
		t.Errorf("beginning twice: got %v, want ErrOtherDevice", err)
	}
}
