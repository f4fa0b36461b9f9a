package room

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Changed returns the rooms that member is joined to in which there is
// something after since: an event, a receipt, or a change of who types.
func Changed(tx *db.Tx, member quinta.UserID, since quinta.Pos) ([]quinta.RoomID, error) {
	return rooms(tx, `SELECT m.room FROM room_member m WHERE m.member = $1 AND m.membership = 'join' AND (
		EXISTS (SELECT 1 FROM room_event e WHERE e.room = m.room AND e.pos > $2)
		OR EXISTS (SELECT 1 FROM room_receipt r WHERE r.room = m.room AND r.pos > $2)
		OR EXISTS (SELECT 1 FROM room_typing t WHERE t.room = m.room AND t.pos > $2))`, member, since)
}

// Joined returns the rooms that member is joined to, in no order.
func Joined(tx *db.Tx, member quinta.UserID) ([]quinta.RoomID, error) {
	return rooms(tx, `SELECT room FROM room_member WHERE member = $1 AND membership = 'join'`, member)
}

// Moves returns the memberships that anybody got in a room in the range, in
// order.
func Moves(tx *db.Tx, room quinta.RoomID, r Range) ([]Change, error) {
	return changes(tx, `SELECT room, member, pos, membership FROM room_membership WHERE room = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`, room, r.From, r.To)
}

// SharedSince reports whether two users are joined to one room, and both have
// been without a break since before the position.
func SharedSince(tx *db.Tx, a, b quinta.UserID, since quinta.Pos) (bool, error) {
	var n int
	err := tx.Row(`SELECT COUNT(*) FROM (SELECT 1 FROM room_member x JOIN room_member y ON y.room = x.room AND y.member = $2 AND y.membership = 'join' AND y.joined <= $3
		WHERE x.member = $1 AND x.membership = 'join' AND x.joined <= $3 LIMIT 1) one`, a, b, since).Scan(&n)
	return n > 0, err
}
