package push

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A scene is what push rules ask about a room and a user.
type scene struct {
	ctx    pushrule.Context
	levels *eventauth.Levels
}

// sceneOf reads what the rules ask.
func sceneOf(tx *db.Tx, id quinta.RoomID, user quinta.UserID) (*scene, error) {
	r, err := room.Get(tx, id)
	if err != nil {
		return nil, err
	}
	version, err := eventauth.ParseVersion(r.Version)
	if err != nil {
		return nil, err
	}
	s := &scene{ctx: pushrule.Context{Members: r.Joined}}
	if s.levels, err = roomview.Levels(tx, id, version); err != nil {
		return nil, err
	}
	own, err := room.StateOf(tx, id, eventauth.TypeMember, string(user))
	if err != nil {
		return nil, err
	}
	if own != nil {
		s.ctx.DisplayName, _ = wire.TextMember(json.RawMessage(own.Content), "displayname")
	}
	return s, nil
}

// of returns the context of one event.
func (s *scene) of(e *room.Event) pushrule.Context {
	ctx := s.ctx
	ctx.MayNotify = func(key string) bool { return s.levels.User(string(e.Sender)) >= s.levels.Notification(key) }
	return ctx
}
