package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// A Talker is a Session with rooms.
type Talker interface {
	Session
	// Rooms lists the rooms of the account, including those it is invited to.
	Rooms(ctx context.Context) ([]RoomInfo, error)
	// Create makes a room, encrypted unless in.Clear is true.
	Create(ctx context.Context, in NewRoom) (quinta.RoomID, error)
	// Invite invites a user to a room.
	Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error
	// Join joins a room, given its id or one of its names.
	Join(ctx context.Context, room string) (quinta.RoomID, error)
	// Leave leaves a room, or declines an invitation.
	Leave(ctx context.Context, room quinta.RoomID) error
}

// A NewRoom describes the room to make.
type NewRoom struct {
	Name   string
	Topic  string
	Invite []quinta.UserID
	// Direct says that the room is a conversation of two people.
	Direct bool
	// Clear makes a room without encryption.
	Clear bool
	// Legacy makes a group in the weak legacy profile, on a network that has
	// one for groups; any other refuses it. See Profiled for direct
	// conversations.
	Legacy bool
}

// RefuseLegacy returns an error if a new room is to have the legacy profile, for
// networks that have none for groups.
func RefuseLegacy(op string, in NewRoom) error {
	if in.Legacy {
		return quinta.E(quinta.KindInvalid, op, "this network has no groups in a legacy profile")
	}
	return nil
}

// A RoomInfo is an entry in the list of rooms.
type RoomInfo struct {
	quinta.Room
	// Membership is that of this account: "join", "invite" or "leave".
	Membership string
	Topic      string
	// Inviter is the user who invited this account, if it is invited.
	Inviter quinta.UserID
	// Direct says that the room is a conversation of two people.
	Direct bool
}
