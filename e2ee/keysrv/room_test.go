package keysrv_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

const hall = quinta.RoomID("hall@rooms.test.example")

func (d *device) join(room quinta.RoomID) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Join(tx, room, "") })
	d.flush()
}

// trio is three users in a room.
func trio(t testing.TB) (p *post, a, b, c *device) {
	t.Helper()
	p = newPost(t)
	p.rooms[hall] = []quinta.UserID{romeo, juliet, tybalt}
	a, b, c = p.login(romeo, 1), p.login(juliet, 2), p.login(tybalt, 3)
	for _, d := range []*device{a, b, c} {
		d.join(hall)
		d.take()
	}
	return p, a, b, c
}

// change changes the members of the room and tells the devices.
func (p *post) change(devices []*device, members ...quinta.UserID) {
	p.t.Helper()
	p.rooms[hall] = members
	for _, d := range devices {
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return d.m.Receive(tx, keysrv.In{Rooms: []quinta.RoomID{hall}})
		})
		d.flush()
	}
}

// TestRoom: one stanza for all members; a change of the members changes the key;
// someone who was removed gets no copy of what comes then, and someone new
// none of what was.
func TestRoom(t *testing.T) {
	t.Parallel()
	p, a, b, c := trio(t)
	a.says(hall, "one", "two")
	for _, d := range []*device{b, c} {
		d.settle()
		for _, e := range d.reads("one", "two") {
			if m := e.Message; m.Room != hall || m.Sender != romeo || m.Trust != quinta.TrustPinned || m.Device != a.id {
				t.Errorf("got %+v", m)
			}
		}
	}
	if p.creates != 1 || len(p.archive) != 2 {
		t.Errorf("got %d keys and %d stanzas, want 1 and 2", p.creates, len(p.archive))
	}
	a.settle()
	a.reads() // its own stanzas come back from the room
	p.change([]*device{a, b}, romeo, juliet)
	a.says(hall, "without him")
	b.settle()
	b.reads("without him")
	if p.creates != 2 {
		t.Errorf("a removed member: got %d keys, want 2", p.creates)
	}
	last := p.archive[len(p.archive)-1].item
	if o := p.objects[last.ObjectID]; o.has(tybalt, c.id) {
		t.Error("a removed member has a copy of the new key")
	}
	// The server asks for a copy for someone who is not a member.
	p.wants[keysrv.Want{ObjectID: last.ObjectID, User: tybalt, Device: c.id}] = true
	a.hint(tybalt)
	if o := p.objects[last.ObjectID]; o.has(tybalt, c.id) {
		t.Error("a copy was made for someone who is no member")
	}
	p.change([]*device{a, b}, romeo, juliet, tybalt)
	a.says(hall, "with him again")
	if p.creates != 3 {
		t.Errorf("a new member: got %d keys, want 3", p.creates)
	}
	if o := p.objects[p.archive[len(p.archive)-1].item.ObjectID]; !o.has(tybalt, c.id) {
		t.Error("a new member has no copy of the new key")
	}
}

// TestRoomRemoved: a device that is removed from a room knows it, and sends
// nothing there.
func TestRoomRemoved(t *testing.T) {
	t.Parallel()
	p, _, b, _ := trio(t)
	p.change([]*device{b}, romeo, tybalt)
	left := false
	for _, e := range b.take(e2ee.EventRoom) {
		left = left || e.Detail == "left"
	}
	err := b.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, b.m.Send(tx, quinta.Message{Room: hall, Text: "still here"})
	})
	if !left || !errors.Is(err, keysrv.ErrUnknownConversation) {
		t.Errorf("got %v, %v", left, err)
	}
}

// TestRoomWithoutDevices: a member who has no device yet keeps no one from
// writing.
func TestRoomWithoutDevices(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.rooms[hall] = []quinta.UserID{romeo, juliet, tybalt}
	a, b := p.login(romeo, 1), p.login(juliet, 2)
	a.join(hall)
	b.join(hall)
	b.take()
	a.says(hall, "hello")
	b.settle()
	b.reads("hello")
}

// TestInvitation: someone else's invitation waits for the user; one of the user's
// own devices says that it has joined.
func TestInvitation(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.rooms[hall] = []quinta.UserID{romeo, juliet}
	b := p.login(juliet, 2)
	invite := func(by quinta.UserID) []e2ee.Event {
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return b.m.Receive(tx, keysrv.In{Invitations: []keysrv.Invitation{{Room: hall, By: by}}})
		})
		b.flush()
		return b.take(e2ee.EventRoom)
	}
	look := func() (r keysrv.RoomInfo, groups int) {
		b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
			list, err := b.m.Groups(tx)
			if err != nil {
				return nil, err
			}
			groups = len(list)
			r, err = b.m.Room(tx, hall)
			return nil, err
		})
		return r, groups
	}
	if e := invite(romeo); len(e) != 1 || e[0].User != romeo || e[0].Detail != "invited" {
		t.Errorf("got %+v", e)
	}
	if r, n := look(); !r.Left || r.By != romeo || n != 0 {
		t.Errorf("got %+v, %d", r, n)
	}
	invite(juliet)
	if r, n := look(); r.Left || r.By != "" || n != 1 {
		t.Errorf("got %+v, %d", r, n)
	}
	// What was left on this device is not joined by an old word of another one.
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Leave(tx, hall) })
	invite(juliet)
	if r, n := look(); !r.Left || n != 0 {
		t.Errorf("got %+v, %d", r, n)
	}
}

// TestAttack07RoomSender: in a room every member has the key. A message counts as
// someone's only if the room says so and the key is theirs; where the room
// does not say it, the message is not trusted.
func TestAttack07RoomSender(t *testing.T) {
	t.Parallel()
	p, a, b, _ := trio(t)
	a.says(hall, "mine")
	it := p.archive[0].item
	it.Room, it.Group = hall, true
	forged := it
	forged.From = tybalt
	b.receive(forged)
	b.flush()
	b.told(quinta.ReasonSenderMismatch)
	unsaid := it
	unsaid.From = ""
	b.receive(unsaid)
	if e := b.reads("mine"); e[0].Message.Sender != romeo || e[0].Message.Trust != quinta.TrustUnknown {
		t.Errorf("got %+v", e[0].Message)
	}
	// From the archive, with the sender: it is known.
	b.receive(it)
	b.reads()
	// No one that the room lists.
	p2, a2, b2, _ := trio(t)
	a2.says(hall, "whose")
	p2.change([]*device{b2}, juliet, tybalt)
	b2.take()
	out := p2.archive[0].item
	out.Room, out.Group, out.From = hall, true, ""
	b2.receive(out)
	b2.told(keysrv.ReasonOf(keysrv.ErrUntrusted))
}

// TestAttack07RoomIsNoUser: a payload of a room is not taken in a direct
// conversation, nor the other way round.
func TestAttack07RoomIsNoUser(t *testing.T) {
	t.Parallel()
	p, a, b, _ := trio(t)
	a.says(hall, "to all")
	it := p.archive[0].item
	it.Room = quinta.RoomID(romeo)
	b.receive(it)
	p.later(time.Minute)
	b.flush()
	if b.take(e2ee.EventMessage) != nil {
		t.Error("a message of a room was shown in a conversation of two")
	}
	it.Room, it.Group = quinta.RoomID(romeo), true
	b.receive(it)
	b.told(quinta.ReasonSenderMismatch)
	it.Room, it.Group = hall, false
	b.receive(it)
	b.told(quinta.ReasonSenderMismatch)
}
