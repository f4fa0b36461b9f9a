package room

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Changed returns the rooms that member is joined to in which there is
// something after since: an event, a receipt, or a change of the members who are typing.
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
