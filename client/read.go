package client

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/timeline"
)

// A Reader is a Session that keeps a timeline on the device.
type Reader interface {
	Session
	// Read returns part of a room's timeline from the device.
	Read(ctx context.Context, room quinta.RoomID, q timeline.Query) ([]timeline.Item, error)
	// History fetches up to limit older messages of a room from the server
	// and stores them. It reports whether there are more.
	History(ctx context.Context, room quinta.RoomID, limit int) (more bool, err error)
	// MarkRead tells the server that this account has read up to a message.
	// In a room that the account has left, it does nothing.
	MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error
}
