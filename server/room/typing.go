package room

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// SetTyping notes that member is typing in room until a time in Unix
// milliseconds, or with 0 that they stopped. It reports whether others see a
// change: continuing without a pause only moves the time.
func SetTyping(tx *db.Tx, room quinta.RoomID, member quinta.UserID, until int64) (bool, error) {
	var have int64
	err := tx.Row(`SELECT until FROM room_typing WHERE room = $1 AND member = $2`, room, member).Scan(&have)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, err
	}
	if have == 0 && until == 0 {
		return false, nil
	}
	if have != 0 && until != 0 {
		err := tx.Queue(`UPDATE room_typing SET until = $1 WHERE room = $2 AND member = $3`, until, room, member)
		return false, err
	}
	err = tx.Queue(`INSERT INTO room_typing (room, member, until, pos) VALUES ($1, $2, $3, $4)
		ON CONFLICT (room, member) DO UPDATE SET until = excluded.until, pos = excluded.pos`, room, member, until, tx.NextPos())
	return err == nil, err
}

// EndTyping ends, in all rooms, typing whose time has passed, and returns the
// rooms in which that changed something.
func EndTyping(tx *db.Tx) ([]quinta.RoomID, error) {
	over, err := rooms(tx, `SELECT DISTINCT room FROM room_typing WHERE until > 0 AND until <= $1`, tx.Millis())
	if err != nil || len(over) == 0 {
		return nil, err
	}
	err = tx.Queue(`UPDATE room_typing SET until = 0, pos = $1 WHERE until > 0 AND until <= $2`, tx.NextPos(), tx.Millis())
	return over, err
}

// Typing returns the members who are typing in a room, and whether that changed
// after since.
func Typing(tx *db.Tx, room quinta.RoomID, since quinta.Pos) (who []quinta.UserID, changed bool, err error) {
	for row, err := range tx.Query(`SELECT member, until, pos FROM room_typing WHERE room = $1 AND (until > 0 OR pos > $2) ORDER BY member`, room, since) {
		if err != nil {
			return nil, false, err
		}
		var u quinta.UserID
		var until int64
		var pos quinta.Pos
		if err := row.Scan(&u, &until, &pos); err != nil {
			return nil, false, err
		}
		changed = changed || pos > since
		if until > 0 {
			who = append(who, u)
		}
	}
	return who, changed, nil
}
