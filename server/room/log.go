package room

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Range is a part of a room's log: the events after From, up to and with
// To.
type Range struct {
	From, To quinta.Pos
}

// Backward returns up to limit events of a room in the range, the newest first,
// and whether there are more.
func Backward(tx *db.Tx, room quinta.RoomID, r Range, limit int) ([]*Event, bool, error) {
	list, err := collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos > $2 AND e.pos <= $3 ORDER BY e.pos DESC LIMIT $4`,
		room, r.From, r.To, limit+1)
	return cut(list, limit, err)
}

// Forward returns up to limit events of a room in the range, the oldest first,
// and whether there are more.
func Forward(tx *db.Tx, room quinta.RoomID, r Range, limit int) ([]*Event, bool, error) {
	list, err := collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos > $2 AND e.pos <= $3 ORDER BY e.pos LIMIT $4`,
		room, r.From, r.To, limit+1)
	return cut(list, limit, err)
}

func cut(list []*Event, limit int, err error) ([]*Event, bool, error) {
	if err != nil {
		return nil, false, err
	}
	if len(list) > limit {
		return list[:limit:limit], true, nil
	}
	return list, false, nil
}

// Nearest returns the event of a room whose time is nearest to time, in Unix
// milliseconds, among those not before it, or with back among those not after
// it; nil if there is none. Times of one server grow with the positions, so
// the search halves the log at each step.
func Nearest(tx *db.Tx, room quinta.RoomID, time int64, back bool) (*Event, error) {
	var lo, hi quinta.Pos
	err := tx.Row(`SELECT COALESCE(MIN(pos), 0), COALESCE(MAX(pos), 0) FROM room_event WHERE room = $1`, room).Scan(&lo, &hi)
	if err != nil || hi == 0 {
		return nil, err
	}
	// The first event with a time >= time, or > time when looking back, is in
	// [lo, hi]; past the end it is hi+1.
	hi++
	for lo < hi {
		mid := lo + (hi-lo)/2
		var at quinta.Pos
		var t int64
		err := tx.Row(`SELECT pos, time FROM room_event WHERE room = $1 AND pos >= $2 ORDER BY pos LIMIT 1`, room, mid).Scan(&at, &t)
		switch {
		case errors.Is(err, db.ErrNoRows):
			hi = mid
		case err != nil:
			return nil, err
		case t > time || t == time && !back:
			hi = mid
		default:
			lo = at + 1
		}
	}
	if back {
		return one(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos < $2 ORDER BY e.pos DESC LIMIT 1`, room, lo)
	}
	return one(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos >= $2 ORDER BY e.pos LIMIT 1`, room, lo)
}

// rooms reads a list of room ids.
func rooms(tx *db.Tx, sql string, args ...any) ([]quinta.RoomID, error) {
	var out []quinta.RoomID
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var id quinta.RoomID
		if err := row.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}
