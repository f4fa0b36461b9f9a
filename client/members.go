package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A MemberLister is a Session that can list the members of a room.
type MemberLister interface {
	Session
	// Members asks the server for everyone who is in a room, is invited to it
	// or was in it.
	Members(ctx context.Context, room quinta.RoomID) ([]Member, error)
}

// A Member is one user's part in a room.
type Member struct {
	User quinta.UserID
	// Name is the name that the user chose there. It is not authenticated.
	Name string
	// Membership is "join", "invite", "leave", "ban" or "knock".
	Membership string
}
