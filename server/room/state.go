package room

import (
	"cmp"
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"slices"
)

// State returns the current state of a room, in the order of the log.
func State(tx *db.Tx, room quinta.RoomID) ([]*Event, error) {
	return collect(tx, `SELECT `+eventColumns+` FROM room_state s JOIN room_event e ON e.room = s.room AND e.pos = s.pos WHERE s.room = $1 ORDER BY e.pos`, room)
}

// StateExcept returns the current state of a room without the events of type
// typ, in the order of the log.
func StateExcept(tx *db.Tx, room quinta.RoomID, typ string) ([]*Event, error) {
	// Two ranges of the key: the type left out may have most of the rows.
	const from = ` FROM room_state s JOIN room_event e ON e.room = s.room AND e.pos = s.pos WHERE s.room = $1 AND s.type `
	return collect(tx, `SELECT `+eventColumns+from+`< $2 UNION ALL SELECT `+eventColumns+from+`> $2 ORDER BY 2`, room, typ)
}

// StateOf returns the current state event of a type and key, nil if there is
// none.
func StateOf(tx *db.Tx, room quinta.RoomID, typ, key string) (*Event, error) {
	return one(tx, `SELECT `+eventColumns+` FROM room_state s JOIN room_event e ON e.room = s.room AND e.pos = s.pos
		WHERE s.room = $1 AND s.type = $2 AND s.state_key = $3`, room, typ, key)
}

// StateAt returns the state of a room right after position pos, in the order
// of the log.
func StateAt(tx *db.Tx, room quinta.RoomID, pos quinta.Pos) ([]*Event, error) {
	return StateBetween(tx, room, Range{To: pos})
}

// StateBetween returns the state events in the range that were not replaced
// within it: what changed of the state, in the order of the log.
func StateBetween(tx *db.Tx, room quinta.RoomID, r Range) ([]*Event, error) {
	return collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.state_key IS NOT NULL AND e.pos > $2 AND e.pos <= $3
		AND NOT EXISTS (SELECT 1 FROM room_event n WHERE n.room = e.room AND n.type = e.type AND n.state_key = e.state_key AND n.state_key IS NOT NULL
			AND n.pos > e.pos AND n.pos <= $3) ORDER BY e.pos`, room, r.From, r.To)
}

// StateOfAt returns the state event of a type and key right after position
// pos, nil if there is none.
func StateOfAt(tx *db.Tx, room quinta.RoomID, typ, key string, pos quinta.Pos) (*Event, error) {
	return one(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.type = $2 AND e.state_key = $3 AND e.state_key IS NOT NULL AND e.pos <= $4
		ORDER BY e.pos DESC LIMIT 1`, room, typ, key, pos)
}

// StateLog returns the events that were ever the state of a type and key, in
// the order of the log.
func StateLog(tx *db.Tx, room quinta.RoomID, typ, key string) ([]*Event, error) {
	return collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.type = $2 AND e.state_key = $3 AND e.state_key IS NOT NULL ORDER BY e.pos`,
		room, typ, key)
}

// StateOfType returns the current state events of one type, in the order of
// the log.
func StateOfType(tx *db.Tx, room quinta.RoomID, typ string) ([]*Event, error) {
	list, err := collect(tx, `SELECT `+eventColumns+` FROM room_state s JOIN room_event e ON e.room = s.room AND e.pos = s.pos
		WHERE s.room = $1 AND s.type = $2`, room, typ)
	// Pointers are sorted faster than the rows of a large room.
	slices.SortFunc(list, func(a, b *Event) int { return cmp.Compare(a.Pos, b.Pos) })
	return list, err
}

// StateOfTypeAt returns the state events of one type right after position
// pos, in the order of the log.
func StateOfTypeAt(tx *db.Tx, room quinta.RoomID, typ string, pos quinta.Pos) ([]*Event, error) {
	return collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.type = $2 AND e.state_key IS NOT NULL AND e.pos <= $3
		AND NOT EXISTS (SELECT 1 FROM room_event n WHERE n.room = e.room AND n.type = e.type AND n.state_key = e.state_key AND n.state_key IS NOT NULL
			AND n.pos > e.pos AND n.pos <= $3) ORDER BY e.pos`, room, typ, pos)
}
