package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A Moderator is a Session that can remove others from a room.
type Moderator interface {
	Session
	// Kick removes a user from a room. Everyone in the room can read reason,
	// which may be empty. The keys of the room change before the next message.
	Kick(ctx context.Context, room quinta.RoomID, user quinta.UserID, reason string) error
}
