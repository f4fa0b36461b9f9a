package matrixserver

import (
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// roomFilter reads the query parameter filter of a call about one room; an
// absent one lets all events pass.
func (c *call) roomFilter() (*filter.RoomEvents, error) {
	s := c.param("filter")
	if s == "" {
		return &filter.RoomEvents{}, nil
	}
	f, err := filter.ParseRoomEvents([]byte(s))
	if err != nil {
		return nil, filterError(err)
	}
	return f, nil
}

// passing keeps the events that a filter lets pass.
func passing(tx *db.Tx, f *filter.RoomEvents, list []*room.Event) ([]*room.Event, error) {
	out := list[:0:0]
	for _, e := range list {
		if !f.In(string(e.Room)) || !f.Match(e.Type, string(e.Sender), e.Content) {
			continue
		}
		ok, err := roomview.Related(tx, f, e)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}
