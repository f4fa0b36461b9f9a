package matrixserver

import (
	"slices"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
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
		ok, err := passesRelated(tx, f, e)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

// passesRelated reports whether somebody of related_by_senders sent an event
// in one of the relations related_by_rel_types to e.
func passesRelated(tx *db.Tx, f *filter.RoomEvents, e *room.Event) (bool, error) {
	if f.RelatedBySenders == nil && f.RelatedByTypes == nil {
		return true, nil
	}
	if !e.Related {
		return false, nil
	}
	list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, Range: room.Range{To: 1 << 62}, Limit: maxAnnotations})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(r *room.Event) bool {
		return (f.RelatedBySenders == nil || slices.Contains(f.RelatedBySenders, string(r.Sender))) &&
			(f.RelatedByTypes == nil || slices.Contains(f.RelatedByTypes, r.RelType))
	}), nil
}
