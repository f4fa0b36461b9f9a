package xmppclient

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

var (
	_ client.Talker       = (*Session)(nil)
	_ client.MemberLister = (*Session)(nil)
	_ client.Moderator    = (*Session)(nil)
	_ client.KeyRotator   = (*Session)(nil)
)

// Rooms implements client.Talker. It does not contact the server.
func (s *Session) Rooms(ctx context.Context) (out []client.RoomInfo, err error) {
	err = s.look(ctx, "listing conversations", func(tx e2ee.Tx) error {
		ids, err := s.machine.Rooms(tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := s.machine.Room(tx, id)
			if err != nil {
				return err
			}
			info := client.RoomInfo{Room: r.Room, Membership: "join", Direct: !r.Group, Inviter: r.By}
			if r.Left {
				info.Membership = "invite"
			}
			info.Name = cmp.Or(r.Name, string(id))
			if r.Mode == keysrv.ModeEscrow {
				info.Name += " (escrow)"
			}
			out = append(out, info)
		}
		return nil
	})
	return out, err
}

// peerOf reads the name of a peer.
func peerOf(op, name string) (quinta.UserID, error) {
	j, err := jid.Parse(strings.TrimSpace(name))
	if err != nil || j.Localpart() == "" || j.Resourcepart() != "" {
		return "", quinta.E(quinta.KindInvalid, op, "a conversation is named by the peer's JID, such as juliet@example.org")
	}
	return quinta.UserID(j.String()), nil
}

// Create implements client.Talker: a direct conversation, or a room. A room is
// for members only, and the key server is one of them.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (id quinta.RoomID, err error) {
	const op = "creating a conversation"
	if err := client.RefuseLegacy(op, in); err != nil {
		return "", err
	}
	var users []quinta.UserID
	for _, u := range in.Invite {
		peer, err := peerOf(op, string(u))
		if err != nil {
			return "", err
		}
		users = append(users, peer)
	}
	switch {
	case in.Clear:
		return "", quinta.E(quinta.KindInvalid, op, "this network has no unencrypted conversations")
	case !in.Direct:
		return s.createRoom(ctx, op, in.Name, users)
	case len(users) != 1:
		return "", quinta.E(quinta.KindInvalid, op, "a direct conversation has one peer: create --direct JID")
	}
	err = s.do(ctx, op, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		id, events, err = s.machine.Direct(tx, users[0])
		return events, err
	})
	return id, err
}

func (s *Session) createRoom(ctx context.Context, op, name string, users []quinta.UserID) (room quinta.RoomID, err error) {
	err = s.online(ctx, func(ctx context.Context, c *connection) error {
		if room, err = c.createRoom(ctx, s.env.Rand, name); err != nil {
			return err
		}
		if err := c.setAffiliation(ctx, s.env.Rand, room, s.account.Component, wire.Member, ""); err != nil {
			return err
		}
		for _, u := range users {
			if err := s.inviteTo(ctx, c, room, u); err != nil {
				return err
			}
		}
		return s.joined(ctx, c, op, room, name)
	})
	return room, errorOf(op, err)
}

// inviteTo makes a user a member of a room, and invites them.
func (s *Session) inviteTo(ctx context.Context, c *connection, room quinta.RoomID, user quinta.UserID) error {
	if err := c.setAffiliation(ctx, s.env.Rand, room, string(user), wire.Member, ""); err != nil {
		return err
	}
	return c.invite(ctx, s.env.Rand, room, user)
}

// joined makes a room a conversation of this device, and tells the user's other
// devices of it.
func (s *Session) joined(ctx context.Context, c *connection, op string, room quinta.RoomID, name string) error {
	if err := s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Join(tx, room, name) }); err != nil {
		return err
	}
	s.link.kick()
	return c.invite(ctx, s.env.Rand, room, s.account.User)
}

// online runs fn with the connection to the XMPP server.
func (s *Session) online(ctx context.Context, fn func(ctx context.Context, c *connection) error) error {
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := s.link.current()
	if err != nil {
		return err
	}
	return fn(live, c)
}

// group refuses a conversation that is no room.
func (s *Session) group(ctx context.Context, op string, room quinta.RoomID) error {
	return s.look(ctx, op, func(tx e2ee.Tx) error {
		r, err := s.machine.Room(tx, room)
		if err == nil && !r.Group {
			err = quinta.E(quinta.KindInvalid, op, "a direct conversation cannot become a group")
		}
		return err
	})
}

// Invite implements client.Talker. A direct conversation stays one of two.
func (s *Session) Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error {
	const op = "inviting"
	if err := s.group(ctx, op, room); err != nil {
		return err
	}
	peer, err := peerOf(op, string(user))
	if err != nil {
		return err
	}
	return errorOf(op, s.online(ctx, func(ctx context.Context, c *connection) error { return s.inviteTo(ctx, c, room, peer) }))
}

// Kick implements client.Moderator: the user is a member no more. The next
// message has a new key.
func (s *Session) Kick(ctx context.Context, room quinta.RoomID, user quinta.UserID, reason string) error {
	const op = "removing a member"
	if err := s.group(ctx, op, room); err != nil {
		return err
	}
	peer, err := peerOf(op, string(user))
	if err != nil {
		return err
	}
	if err := s.online(ctx, func(ctx context.Context, c *connection) error {
		return c.setAffiliation(ctx, s.env.Rand, room, string(peer), wire.None, reason)
	}); err != nil {
		return errorOf(op, err)
	}
	return s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.RefreshRoom(tx, room) })
}

// Join implements client.Talker: the JID of a room that this user is a member
// of, or that of a peer, which is the conversation with them.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	const op = "joining"
	name, err := peerOf(op, room)
	if err != nil {
		return "", err
	}
	isRoom := false
	err = s.online(ctx, func(ctx context.Context, c *connection) error {
		to, err := jid.Parse(string(name))
		if err != nil {
			return err
		}
		var info wire.Info
		err = c.askWith(ctx, s.env.Rand, to.Domain(), stanza.GetIQ, &wire.Info{}, &info)
		if _, refused := errors.AsType[stanza.Error](err); refused || err == nil && !info.Has(wire.NSMUC) {
			return nil
		}
		if err != nil {
			return err
		}
		isRoom = true
		if err := c.checkRoom(ctx, s.env.Rand, to); err != nil {
			return err
		}
		o, err := c.enter(ctx, quinta.RoomID(name), true)
		if err != nil {
			return err
		}
		if o.refused {
			return quinta.E(quinta.KindForbidden, op, "the room does not let this user in: its owner must make them a member")
		}
		return s.joined(ctx, c, op, quinta.RoomID(name), "")
	})
	if err != nil || isRoom {
		return quinta.RoomID(name), errorOf(op, err)
	}
	return s.Create(ctx, client.NewRoom{Direct: true, Invite: []quinta.UserID{name}})
}

// Leave implements client.Talker. The conversation is no longer listed on this
// device, until someone writes in it or invites to it. A member of a room stays
// one until its owner removes them.
func (s *Session) Leave(ctx context.Context, room quinta.RoomID) error {
	const op = "leaving a conversation"
	var r keysrv.RoomInfo
	if err := s.do(ctx, op, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		if r, err = s.machine.Room(tx, room); err != nil {
			return nil, err
		}
		return s.machine.Leave(tx, room)
	}); err != nil || !r.Group || r.Left {
		return err
	}
	return errorOf(op, s.online(ctx, func(ctx context.Context, c *connection) error { return c.exit(ctx, room) }))
}

// Members implements client.MemberLister.
func (s *Session) Members(ctx context.Context, room quinta.RoomID) (out []client.Member, err error) {
	err = s.look(ctx, "listing members", func(tx e2ee.Tx) error {
		r, err := s.machine.Room(tx, room)
		for _, u := range r.Members {
			out = append(out, client.Member{User: u, Membership: "join"})
		}
		return err
	})
	return out, err
}

// RotateKey implements client.KeyRotator.
func (s *Session) RotateKey(ctx context.Context, room quinta.RoomID) error {
	return s.do(ctx, "changing the key", func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Rotate(tx, room) })
}
