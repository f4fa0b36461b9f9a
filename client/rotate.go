package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A KeyRotator is a Session that can change the key of a room.
type KeyRotator interface {
	Session
	// RotateKey makes the next message to a room the first one under a new
	// key. A room that this device does not know is an error of KindNotFound.
	RotateKey(ctx context.Context, room quinta.RoomID) error
}
