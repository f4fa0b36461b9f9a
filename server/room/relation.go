package room

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A RelationQuery asks for the events that are related to another.
type RelationQuery struct {
	Room quinta.RoomID
	To   quinta.MessageID
	// RelType, Type and Sender narrow the answer if they are not "".
	RelType, Type string
	Sender        quinta.UserID
	Range         Range
	// Forward gives the oldest first.
	Forward bool
	Limit   int
}

// Relations returns the events that q asks for, and whether there are more.
func Relations(tx *db.Tx, q RelationQuery) ([]*Event, bool, error) {
	order := `DESC`
	if q.Forward {
		order = `ASC`
	}
	list, err := collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.rel_to = $1 AND e.rel_to IS NOT NULL AND e.room = $2 AND e.pos > $3 AND e.pos <= $4
		AND ($5 = '' OR e.rel_type = $5) AND ($6 = '' OR e.type = $6) AND ($7 = '' OR e.sender = $7) ORDER BY e.pos `+order+` LIMIT $8`,
		q.To, q.Room, q.Range.From, q.Range.To, q.RelType, q.Type, q.Sender, q.Limit+1)
	return cut(list, q.Limit, err)
}

// CountRelations returns how many events have the relation relType to an
// event, and whether member sent one of them.
func CountRelations(tx *db.Tx, room quinta.RoomID, to quinta.MessageID, relType string, member quinta.UserID) (n int, took bool, err error) {
	var own int
	err = tx.Row(`SELECT COUNT(*), COALESCE(SUM(CASE WHEN sender = $4 THEN 1 ELSE 0 END), 0) FROM room_event
		WHERE rel_to = $1 AND rel_to IS NOT NULL AND room = $2 AND rel_type = $3`, to, room, relType, member).Scan(&n, &own)
	return n, own > 0, err
}

// A Root is an event that others are related to.
type Root struct {
	ID quinta.MessageID
	// Last is the position of the newest of them.
	Last quinta.Pos
}

// Roots returns up to limit events of a room to which others have
// the relation relType, those with the newest of them before position before
// first; and whether there are more.
func Roots(tx *db.Tx, room quinta.RoomID, relType string, before quinta.Pos, limit int) ([]Root, bool, error) {
	var out []Root
	for row, err := range tx.Query(`SELECT e.rel_to, MAX(e.pos) FROM room_event e WHERE e.room = $1 AND e.rel_type = $2 AND e.rel_type IS NOT NULL
		GROUP BY e.rel_to HAVING MAX(e.pos) < $3 ORDER BY MAX(e.pos) DESC LIMIT $4`, room, relType, before, limit+1) {
		if err != nil {
			return nil, false, err
		}
		var r Root
		if err := row.Scan(&r.ID, &r.Last); err != nil {
			return nil, false, err
		}
		out = append(out, r)
	}
	if len(out) > limit {
		return out[:limit], true, nil
	}
	return out, false, nil
}
