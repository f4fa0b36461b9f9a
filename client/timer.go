package client

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
)

// A TimerSetter is a Session with rooms whose messages end some time after they
// were read, on both sides.
type TimerSetter interface {
	Session
	// SetTimer sets the timer of a room for the messages that follow, from
	// whichever side, to a whole number of seconds up to a week; 0 turns it
	// off.
	SetTimer(ctx context.Context, room quinta.RoomID, d time.Duration) error
}
