package matrixclient

import (
	"context"
	"errors"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var (
	_ client.Moderator  = (*Session)(nil)
	_ client.KeyRotator = (*Session)(nil)
)

// Kick implements client.Moderator. It returns when this device knows that the
// user is no longer in the room: they cannot read anything sent from then on.
func (s *Session) Kick(ctx context.Context, room quinta.RoomID, user quinta.UserID, reason string) error {
	const op = "removing a user"
	if _, _, ok := wire.SplitUserID(user); !ok {
		return quinta.E(quinta.KindInvalid, op, "a user is named @name:server")
	}
	body := wire.MemberChange{User: &user}
	if reason != "" {
		body.Reason = &reason
	}
	if err := s.link.ask(ctx, op, http.MethodPost, path("rooms", string(room), "kick"), body, nil); err != nil {
		return err
	}
	return s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		in, err := s.machine.Membership(tx, room, user)
		return in != "join" && in != "invite", err
	})
}

// RotateKey implements client.KeyRotator.
func (s *Session) RotateKey(ctx context.Context, room quinta.RoomID) error {
	const op = "changing the key of a room"
	return s.st.Update(ctx, func(tx e2ee.Tx) error {
		if _, err := s.machine.Room(tx, room); errors.Is(err, matrix.ErrUnknownRoom) {
			return quinta.E(quinta.KindNotFound, op, "there is no such room")
		} else if err != nil {
			return err
		}
		return s.machine.Rotate(tx, room)
	})
}
