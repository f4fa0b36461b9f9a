package mtprotoclient

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

var (
	_ client.Talker     = (*Session)(nil)
	_ client.Reader     = (*Session)(nil)
	_ client.KeyRotator = (*Session)(nil)
	_ client.Restorer   = (*Session)(nil)
	_ client.Leaver     = (*Session)(nil)
)

// Rooms implements client.Talker. A request that waits for this user's answer
// is an invitation.
func (s *Session) Rooms(ctx context.Context) ([]client.RoomInfo, error) {
	var chats []secretchat.ChatInfo
	err := s.look(ctx, func(tx e2ee.Tx) (err error) { chats, err = s.machine.Chats(tx); return err })
	var out []client.RoomInfo
	for _, c := range chats {
		out = append(out, s.room(c))
	}
	return out, errorOf("listing chats", err)
}

// room describes a chat.
func (s *Session) room(c secretchat.ChatInfo) client.RoomInfo {
	peer := secretchat.UserID(c.Peer.ID)
	info := client.RoomInfo{Room: quinta.Room{ID: quinta.RoomID(c.ID.String()), Name: personName(c.Peer), Encrypted: true, Members: []quinta.UserID{s.Self().User, peer}}, Direct: true, Membership: "join"}
	switch c.State {
	case secretchat.StateRequested:
		info.Membership, info.Inviter = "invite", peer
		info.Topic = "has requested a secret chat since " + c.Created.UTC().Format("2006-01-02 15:04 MST")
	case secretchat.StateAsking:
		info.Topic = "waits for the other side to accept"
	case secretchat.StateClosed:
		info.Membership, info.Topic = "leave", c.Why
	}
	return info
}

// personName is what the server calls someone: name, username and number.
func personName(p secretchat.Person) string {
	name := printable.Line(p.Name)
	if u := printable.Line(p.Username); u != "" && u != name {
		name += " @" + u
	}
	if p.Phone != "" {
		name += " +" + printable.Line(p.Phone)
	}
	if name = strings.TrimSpace(name); name == "" {
		name = string(secretchat.UserID(p.ID))
	}
	return name
}

// Create implements client.Talker: it asks one other user for a chat. The user
// is named by a number, "+888..."; or by a username, "@alice". Messages leave
// when the other side has accepted.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (quinta.RoomID, error) {
	const op = "requesting a chat"
	if err := client.RefuseLegacy(op, in); err != nil {
		return "", err
	}
	switch {
	case in.Clear:
		return "", quinta.E(quinta.KindInvalid, op, "this network has no unencrypted chats")
	case len(in.Invite) != 1:
		return "", quinta.E(quinta.KindInvalid, op, "a secret chat is with one other user")
	}
	peer, err := s.find(ctx, string(in.Invite[0]))
	if err != nil {
		return "", errorOf(op, err)
	}
	var id secretchat.ChatID
	if err := s.do(ctx, op, func(tx e2ee.Tx) (_ []e2ee.Event, err error) { id, err = s.machine.Create(tx, peer); return nil, err }); err != nil {
		return "", err
	}
	room := quinta.RoomID(id.String())
	info, err := s.settled(ctx, op, room)
	if err == nil && info.State == secretchat.StateClosed {
		err = quinta.E(quinta.KindForbidden, op, info.Why)
	}
	return room, err
}

// settled waits until the server has answered what is due for a chat.
func (s *Session) settled(ctx context.Context, op string, room quinta.RoomID) (info secretchat.ChatInfo, err error) {
	err = s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		busy, err := s.machine.Busy(tx, room)
		if err != nil || busy {
			return false, err
		}
		info, err = s.machine.Chat(tx, room)
		return err == nil, err
	})
	return info, errorOf(op, err)
}

// find asks the server for a person, by number or username.
func (s *Session) find(ctx context.Context, user string) (secretchat.Person, error) {
	const op = "looking for a user"
	var req any = &wire.ResolveUsername{Username: strings.TrimPrefix(user, "@")}
	if phone := digits(user); phone != "" {
		req = &wire.ResolvePhone{Phone: phone}
	}
	o, err := s.call(ctx, req)
	if e, ok := errors.AsType[callError](err); ok && strings.HasSuffix(e.Message, "_NOT_OCCUPIED") {
		return secretchat.Person{}, quinta.E(quinta.KindNotFound, op, "no account has this number or username")
	} else if err != nil {
		return secretchat.Person{}, err
	}
	if r, ok := o.(*wire.ResolvedPeer); ok && len(r.Users) == 1 {
		if p, ok := personOf(r.Users[0]); ok {
			return p, nil
		}
	}
	return secretchat.Person{}, quinta.E(quinta.KindMalformed, op, "the server's answer names no user")
}

// Invite implements client.Talker. A chat always has two people.
func (s *Session) Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error {
	return quinta.E(quinta.KindInvalid, "inviting", "a secret chat is with one other user")
}

// Join implements client.Talker: it accepts a request.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	id := quinta.RoomID(room)
	const op = "accepting a chat"
	if err := s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Accept(tx, id) }); err != nil {
		return "", err
	}
	var info secretchat.ChatInfo
	err := s.runner.Wait(ctx, op, func(tx e2ee.Tx) (_ bool, err error) {
		info, err = s.machine.Chat(tx, id)
		return info.State != secretchat.StateAccepting, err
	})
	if err == nil && info.State == secretchat.StateClosed {
		err = quinta.E(quinta.KindForbidden, op, info.Why)
	}
	return id, errorOf(op, err)
}

// Leave implements client.Talker: it closes a chat or declines a request.
func (s *Session) Leave(ctx context.Context, room quinta.RoomID) error {
	const op = "closing a chat"
	if err := s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Close(tx, room, false) }); err != nil {
		return err
	}
	_, err := s.settled(ctx, op, room)
	return err
}

// RotateKey implements client.KeyRotator. The key changes when the other side
// has answered.
func (s *Session) RotateKey(ctx context.Context, room quinta.RoomID) error {
	return s.do(ctx, "changing the key", func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Rekey(tx, room) })
}

// Restored implements client.Restorer. Every chat is closed: an old copy of
// its state cannot continue.
func (s *Session) Restored(ctx context.Context) error {
	return s.do(ctx, "closing the chats of an old copy", func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Restored(tx) })
}

// Logout implements client.Leaver.
func (s *Session) Logout(ctx context.Context) error {
	_, err := s.call(ctx, &wire.LogOut{})
	return errorOf("logging out", err)
}

// Read implements client.Reader. Messages whose time has come end before it
// reads, also on a device that was off or that does not reach its server.
func (s *Session) Read(ctx context.Context, room quinta.RoomID, q timeline.Query) (items []timeline.Item, err error) {
	if err := s.expire(ctx); err != nil {
		return nil, err
	}
	err = s.look(ctx, func(tx e2ee.Tx) (err error) { items, err = timeline.Read(tx, room, q); return err })
	return items, err
}

// expire ends the messages whose time has come.
func (s *Session) expire(ctx context.Context) error {
	var first time.Time
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { first, err = s.machine.Expires(tx); return err }); err != nil {
		return err
	}
	if first.IsZero() || first.After(s.env.Now()) {
		return nil
	}
	return s.do(ctx, "ending messages", func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Receive(tx, secretchat.In{}) })
}

// History implements client.Reader. A server keeps no message of a secret chat
// that a device has: there is nothing to ask for.
func (s *Session) History(ctx context.Context, room quinta.RoomID, limit int) (more bool, err error) {
	return false, s.look(ctx, func(tx e2ee.Tx) error {
		_, err := s.machine.Chat(tx, room)
		return errorOf("asking for older messages", err)
	})
}

// MarkRead implements client.Reader. It starts the timers of the messages up to
// this one, and the other side sees that they were read.
func (s *Session) MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error {
	defer s.link.nudge() // a timer may have begun
	return s.do(ctx, "marking as read", func(tx e2ee.Tx) ([]e2ee.Event, error) {
		item, err := timeline.Get(tx, room, id)
		if err != nil {
			return nil, err
		}
		return nil, s.machine.MarkRead(tx, room, item.Message.Time.Unix())
	})
}
