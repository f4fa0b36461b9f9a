package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A ProfileChooser is a Session on a network where a conversation can use
// another profile than the default.
type ProfileChooser interface {
	Session
	// Legacy opens a conversation with a user in the legacy profile, separate
	// from the one in the default profile, and returns it. The legacy profile
	// is weak: messages that arrive in it are marked so, and nothing is sent
	// until the other user has chosen it as well.
	Legacy(ctx context.Context, user quinta.UserID) (quinta.RoomID, error)
	// SetSessionMode switches session mode on or off for what this device
	// sends in a conversation of two: small packets under a key that the first
	// message carries.
	SetSessionMode(ctx context.Context, room quinta.RoomID, on bool) error
}
