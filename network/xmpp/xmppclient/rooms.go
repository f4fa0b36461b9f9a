package xmppclient

import (
	"context"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"mellium.im/xmpp/jid"
)

var (
	_ client.Talker       = (*Session)(nil)
	_ client.MemberLister = (*Session)(nil)
	_ client.KeyRotator   = (*Session)(nil)
)

// Rooms implements client.Talker. It does not speak to the server.
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
			info := client.RoomInfo{Room: r.Room, Membership: "join", Direct: true}
			info.Name = string(id)
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

// Create implements client.Talker: direct conversations only.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (id quinta.RoomID, err error) {
	const op = "creating a conversation"
	if err := client.RefuseLegacy(op, in); err != nil {
		return "", err
	}
	switch {
	case in.Clear:
		return "", quinta.E(quinta.KindInvalid, op, "this network has no unencrypted conversations")
	case !in.Direct || len(in.Invite) != 1:
		return "", quinta.E(quinta.KindInvalid, op, "this network has direct conversations only: create --direct JID")
	}
	peer, err := peerOf(op, string(in.Invite[0]))
	if err != nil {
		return "", err
	}
	err = s.do(ctx, op, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		id, events, err = s.machine.Direct(tx, peer)
		return events, err
	})
	return id, err
}

// Invite implements client.Talker. A direct conversation stays one of two.
func (s *Session) Invite(context.Context, quinta.RoomID, quinta.UserID) error {
	return quinta.E(quinta.KindInvalid, "inviting", "a direct conversation cannot become a group")
}

// Join implements client.Talker: the JID of a peer is the conversation with them.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	return s.Create(ctx, client.NewRoom{Direct: true, Invite: []quinta.UserID{quinta.UserID(room)}})
}

// Leave implements client.Talker. The conversation is no longer listed on
// this device, until someone writes in it.
func (s *Session) Leave(ctx context.Context, room quinta.RoomID) error {
	return s.do(ctx, "leaving a conversation", func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Leave(tx, room) })
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
