package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// An Encrypter is a Session that can switch encryption on in a room that has
// none.
type Encrypter interface {
	Session
	// Encrypt switches end-to-end encryption on in a room. It is never switched
	// off again. What was sent before stays in clear on the server. In a room
	// that is encrypted it does nothing.
	Encrypt(ctx context.Context, room quinta.RoomID) error
}
