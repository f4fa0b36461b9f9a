package xmppclient

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// maxOccupants bounds what is remembered of the occupants of a room.
const maxOccupants = 10_000

// An occupancy is a room that was entered.
type occupancy struct {
	// nicks are the users behind the nicknames, as the room says.
	nicks map[string]quinta.UserID
	// entered is closed when the room has answered; refused says that it did
	// not let this device in.
	entered chan struct{}
	settled bool
	refused bool
	// caughtUp says that its archive was read to its end.
	caughtUp bool
}

// nick is the name of this device in a room. It is no other device's.
func (c *connection) nick() string {
	device := c.self.Resourcepart()
	return c.self.Localpart() + "-" + device[max(0, len(device)-6):]
}

// enter enters a room, and returns when the room has let this device in or not.
// If again is set, a room that did not is asked once more.
func (c *connection) enter(ctx context.Context, room quinta.RoomID, again bool) (*occupancy, error) {
	c.mu.Lock()
	o := c.flow.rooms[room]
	if o == nil || again && o.refused {
		o = &occupancy{nicks: map[string]quinta.UserID{}, entered: make(chan struct{})}
		c.flow.rooms[room] = o
		c.mu.Unlock()
		if err := c.sayHello(ctx, room); err != nil {
			c.mu.Lock()
			delete(c.flow.rooms, room)
			c.mu.Unlock()
			return nil, err
		}
	} else {
		c.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	select {
	case <-o.entered:
		return o, nil
	case <-c.ended.Done():
		return nil, errDropped
	case <-ctx.Done():
		return nil, c.broken(ctx)
	}
}

// sayHello sends the presence by which a room is entered.
func (c *connection) sayHello(ctx context.Context, room quinta.RoomID) error {
	to, err := jid.Parse(string(room) + "/" + c.nick())
	if err != nil {
		return quinta.E(quinta.KindInvalid, "entering a room", "the name of the room is not a JID")
	}
	return c.writeWith(ctx, stanza.Presence{To: to}.Wrap, &wire.Join{})
}

// writeWith sends a stanza with a payload that is encoded.
func (c *connection) writeWith(ctx context.Context, wrap func(xml.TokenReader) xml.TokenReader, payload any) error {
	raw, err := xml.Marshal(payload)
	if err != nil {
		return quinta.E(quinta.KindInternal, "speaking to the XMPP server", "a stanza cannot be written")
	}
	if c.write(ctx, wrap(xml.NewDecoder(bytes.NewReader(raw)))) != nil {
		return c.broken(ctx)
	}
	return nil
}

// exit leaves a room.
func (c *connection) exit(ctx context.Context, room quinta.RoomID) error {
	c.mu.Lock()
	_, in := c.flow.rooms[room]
	delete(c.flow.rooms, room)
	c.mu.Unlock()
	if !in {
		return nil
	}
	to, err := jid.Parse(string(room) + "/" + c.nick())
	if err != nil {
		return quinta.E(quinta.KindInvalid, "leaving a room", "the name of the room is not a JID")
	}
	if c.write(ctx, stanza.Presence{To: to, Type: stanza.UnavailablePresence}.Wrap(nil)) != nil {
		return c.broken(ctx)
	}
	return nil
}

// presence takes what a room says of its occupants.
func (c *connection) presence(p *wire.Presence) {
	from, err := jid.Parse(p.From)
	if err != nil {
		return
	}
	room, nick := quinta.RoomID(from.Bare().String()), from.Resourcepart()
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.flow.rooms[room]
	if o == nil {
		return
	}
	settle := func(refused bool) {
		o.refused = refused
		if !o.settled {
			o.settled = true
			close(o.entered)
		}
	}
	self := nick == c.nick() || p.Room != nil && p.Room.Has(wire.StatusSelf)
	switch {
	case p.Type == string(stanza.ErrorPresence):
		settle(true)
		return
	case p.Type == string(stanza.UnavailablePresence):
		delete(o.nicks, nick)
		if self {
			settle(true)
		}
	case p.Room != nil && len(p.Room.Items) == 1 && len(o.nicks) < maxOccupants:
		if j, err := jid.Parse(p.Room.Items[0].JID); err == nil {
			o.nicks[nick] = quinta.UserID(j.Bare().String())
		}
		if self {
			settle(false)
		}
	}
	if p.Room == nil {
		return
	}
	for _, it := range p.Room.Items {
		if !it.Affiliation.Belongs() {
			c.outdate(room)
		}
	}
	if u := o.nicks[nick]; u != "" && p.Type == "" && o.settled {
		c.outdate(room) // it may be someone new
	}
}

// outdate notes that the members of a room have changed. c.mu is held.
func (c *connection) outdate(room quinta.RoomID) {
	c.changed[room] = true
	c.wake()
}

// wake wakes the goroutine that receives.
func (c *connection) wake() {
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// ofRoom reports whether a message of the type groupchat is one for the machine.
// What a room says of itself is noted. c.mu is held.
func (c *connection) ofRoom(m *wire.Message) bool {
	from, err := jid.Parse(m.From)
	if err != nil {
		return false
	}
	room := quinta.RoomID(from.Bare().String())
	if c.flow.rooms[room] == nil {
		return false
	}
	if from.Resourcepart() == "" {
		if len(m.Room) > 0 {
			c.outdate(room)
		}
		return false
	}
	if from.Resourcepart() == c.nick() {
		c.settle(m.ID, true)
	}
	return true
}

// settle tells whoever waits for a room to take a message that it did, or that
// the message came back. c.mu is held.
func (c *connection) settle(id string, taken bool) {
	if wait := c.reflected[id]; wait != nil {
		delete(c.reflected, id)
		wait <- taken
	}
}

// deliverToRoom sends a message to a room that was entered, and returns when the
// room has sent it to everyone, this device included. taken is false if it
// came back.
func (c *connection) deliverToRoom(ctx context.Context, random io.Reader, room quinta.RoomID, id quinta.MessageID, m any) (taken bool, err error) {
	o, err := c.enter(ctx, room, true)
	if err != nil || o.refused {
		return false, err
	}
	if c.flow.has(id) {
		if err := c.ping(ctx, random); err != nil {
			return false, err
		}
		return !c.flow.done(id), nil
	}
	wait := make(chan bool, 1)
	c.mu.Lock()
	c.reflected[string(id)] = wait
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.reflected, string(id))
		c.mu.Unlock()
	}()
	c.out.Lock()
	c.flow.note(id, c.flow.number())
	err = c.session.Encode(ctx, m)
	c.out.Unlock()
	if err != nil {
		return false, c.broken(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	select {
	case taken = <-wait:
		c.flow.done(id)
		return taken, nil
	case <-c.ended.Done():
		return false, errDropped
	case <-ctx.Done():
		return false, c.broken(ctx)
	}
}

// itemOfRoom makes the machine's input of a message of a room. sender is the
// user who sent it by the room's word, and may be empty.
func itemOfRoom(m *wire.Message, room quinta.RoomID, sender quinta.UserID, received time.Time) (it keysrv.Item, ok bool) {
	if m == nil || m.Encrypted == nil || m.Type != stanza.GroupChatMessage {
		return it, false
	}
	from, err := jid.Parse(m.From)
	if err != nil || quinta.RoomID(from.Bare().String()) != room || from.Resourcepart() == "" {
		return it, false
	}
	return keysrv.Item{Room: room, Group: true, From: sender, StanzaID: quinta.MessageID(m.ID), ObjectID: m.Encrypted.ObjectID, Text: m.Encrypted.Text, Received: received}, true
}

// liveOfRoom takes a message of a room as it comes. The sender is whoever the
// room has said is behind the nickname; what the message itself says of that
// counts for nothing.
func (c *connection) liveOfRoom(m *wire.Message, in *keysrv.In) {
	from, err := jid.Parse(m.From)
	if err != nil {
		return
	}
	room := quinta.RoomID(from.Bare().String())
	c.mu.Lock()
	var sender quinta.UserID
	if o := c.flow.rooms[room]; o != nil {
		sender = o.nicks[from.Resourcepart()]
	}
	c.mu.Unlock()
	if it, ok := itemOfRoom(m, room, sender, m.Delay.Time()); ok {
		in.Items = append(in.Items, it)
	}
	for _, id := range m.StanzaIDs {
		if id.By == string(room) && id.ID != "" {
			if in.Archives == nil {
				in.Archives = map[quinta.RoomID]string{}
			}
			in.Archives[room] = id.ID
		}
	}
}

// catchUpRoom reads one page of the archive of a room.
func (c *connection) catchUpRoom(ctx context.Context, random io.Reader, room quinta.RoomID, after string) (in keysrv.In, done bool, err error) {
	of, err := jid.Parse(string(room))
	if err != nil {
		return in, true, nil
	}
	list, last, done, err := c.page(ctx, random, of, after)
	if err != nil {
		return in, false, err
	}
	for _, m := range list {
		inner := m.Result.Forwarded.Message
		if it, ok := itemOfRoom(inner, room, archivedSender(inner), m.Result.Forwarded.Delay.Time()); ok {
			in.Items = append(in.Items, it)
		}
	}
	if last != "" {
		in.Archives = map[quinta.RoomID]string{room: last}
	}
	return in, done, nil
}

// archivedSender is the user whom a room's archive names as the sender, or empty
// if it names none, or not one alone.
func archivedSender(m *wire.Message) quinta.UserID {
	if m == nil || len(m.Room) != 1 || len(m.Room[0].Items) != 1 {
		return ""
	}
	j, err := jid.Parse(m.Room[0].Items[0].JID)
	if err != nil || j.Localpart() == "" {
		return ""
	}
	return quinta.UserID(j.Bare().String())
}

// invitationOf reads an invitation to a room. Only this user's own server
// vouches for the inviter, and for no one else.
func (c *connection) invitationOf(m *wire.Message) (keysrv.Invitation, bool) {
	if m == nil || m.Invite == nil || m.Type == stanza.GroupChatMessage || m.Type == stanza.ErrorMessage {
		return keysrv.Invitation{}, false
	}
	from, err := jid.Parse(m.From)
	if m.From == "" {
		from, err = c.self, nil
	}
	room, roomErr := jid.Parse(m.Invite.JID)
	if err != nil || roomErr != nil || room.Localpart() == "" || room.Resourcepart() != "" {
		return keysrv.Invitation{}, false
	}
	return keysrv.Invitation{Room: quinta.RoomID(room.String()), By: quinta.UserID(from.Bare().String())}, true
}

// readRoom enters a room that the machine has joined, and reads one page of its
// archive until that is read to its end. more reports that there is something
// for the machine.
func (c *connection) readRoom(ctx context.Context, random io.Reader, room quinta.RoomID, after string) (in keysrv.In, more bool, err error) {
	o, err := c.enter(ctx, room, false)
	if err != nil || o.refused || o.caughtUp {
		return in, false, err
	}
	in, done, err := c.catchUpRoom(ctx, random, room, after)
	if err != nil {
		return in, false, err
	}
	o.caughtUp = done
	return in, !done || len(in.Items) > 0, nil
}

// popChanged takes the rooms whose members have changed.
func (c *connection) popChanged() []quinta.RoomID {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Sorted(maps.Keys(c.changed))
	clear(c.changed)
	return out
}
