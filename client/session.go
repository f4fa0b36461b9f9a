package client

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Session is one logged-in device. It has only what every network can do.
// Everything else is an ability: an interface of its own, in a file named
// after it, that a Session may also implement. [As] asks for an ability.
type Session interface {
	// Self is the device.
	Self() quinta.Device
	// Run sends and receives until ctx ends, and calls on with each event
	// once it is durable. It returns nil when ctx ended, and an error of
	// KindUnauthenticated when the device was signed out.
	Run(ctx context.Context, on func(e2ee.Event)) error
	// Send puts a message into the outbox and returns its id. Once Send has
	// returned, the message survives a crash; Run or Flush sends it. An
	// EventSent or EventFailed with the same id reports the outcome.
	Send(ctx context.Context, room quinta.RoomID, d Draft) (quinta.TxnID, error)
	// Flush catches up with the server and sends what is in the outbox, and
	// returns when the outbox is empty. It must not be called during Run.
	Flush(ctx context.Context, on func(e2ee.Event)) error
	// Close ends the session and closes its store. The device stays logged
	// in.
	Close() error
}

// As returns s as the ability T, and reports whether s has it.
func As[T any](s Session) (T, bool) {
	t, ok := s.(T)
	return t, ok
}
