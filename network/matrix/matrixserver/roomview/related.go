package roomview

import (
	"slices"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// MaxRelations bounds how many of the events that relate to one are looked
// at.
const MaxRelations = 1000

// Related reports whether someone of related_by_senders sent an event in one
// of the relations related_by_rel_types to e.
func Related(tx *db.Tx, f *filter.RoomEvents, e *room.Event) (bool, error) {
	if f.RelatedBySenders == nil && f.RelatedByTypes == nil {
		return true, nil
	}
	if !e.Related {
		return false, nil
	}
	list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, Range: room.Range{To: 1 << 62}, Limit: MaxRelations})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(r *room.Event) bool {
		return (f.RelatedBySenders == nil || slices.Contains(f.RelatedBySenders, string(r.Sender))) &&
			(f.RelatedByTypes == nil || slices.Contains(f.RelatedByTypes, r.RelType))
	}), nil
}
