package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A Profiled is a Session on a network where a conversation can use another
// profile than the default.
type Profiled interface {
	Session
	// Legacy opens a direct conversation with a user in the legacy profile and
	// returns it. The legacy profile is weak, and messages that arrive in it are
	// marked as weak. Where each user has to choose it, that conversation is
	// separate from the one in the default profile, and nothing is sent until
	// the other user has chosen it as well.
	Legacy(ctx context.Context, user quinta.UserID) (quinta.RoomID, error)
}

// A ProfileChooser is a Profiled whose device can also choose how it sends.
type ProfileChooser interface {
	Profiled
	// SetSessionMode switches session mode on or off for what this device
	// sends in a direct conversation: small packets under a key that the first
	// message carries.
	SetSessionMode(ctx context.Context, room quinta.RoomID, on bool) error
}
