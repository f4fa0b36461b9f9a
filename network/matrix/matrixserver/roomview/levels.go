package roomview

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// AuthEvent is e as the rules see it.
func AuthEvent(e *room.Event) *eventauth.Event {
	return &eventauth.Event{ID: string(e.ID), RoomID: string(e.Room), Type: e.Type, Sender: string(e.Sender), StateKey: e.StateKey,
		Content: e.Content, Redacts: string(e.Redacts), OriginServerTS: e.Time, Depth: e.Depth}
}

// Levels returns the current power levels of a room.
func Levels(tx *db.Tx, id quinta.RoomID, v eventauth.Version) (*eventauth.Levels, error) {
	m := map[eventauth.Key]*eventauth.Event{}
	for _, k := range []eventauth.Key{{Type: eventauth.TypeCreate}, {Type: eventauth.TypePowerLevels}} {
		e, err := room.StateOf(tx, id, k.Type, k.StateKey)
		if err != nil {
			return nil, err
		}
		if e != nil {
			m[k] = AuthEvent(e)
		}
	}
	return eventauth.LevelsOf(v, eventauth.StateOf(m))
}
