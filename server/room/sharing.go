package room

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Sharing returns those of the users who are joined to a room that member is
// joined to, where both have been without a break since a position; for what
// holds now, give the present position. member is not among them.
func Sharing(tx *db.Tx, member quinta.UserID, users []quinta.UserID, since quinta.Pos) (map[quinta.UserID]bool, error) {
	out := map[quinta.UserID]bool{}
	for piece := range db.Pieces(users) {
		args := make([]any, 2, 2+len(piece))
		args[0], args[1] = string(member), int64(since)
		for _, u := range piece {
			args = append(args, string(u))
		}
		for row, err := range tx.Query(`SELECT DISTINCT y.member FROM room_member y JOIN room_member x
			ON x.room = y.room AND x.member = $1 AND x.membership = 'join' AND x.joined <= $2
			WHERE y.membership = 'join' AND y.joined <= $2 AND y.member <> $1 AND y.member IN (`+db.Tuples(3, len(piece), 1)+`)`, args...) {
			if err != nil {
				return nil, err
			}
			var u quinta.UserID
			if err := row.Scan(&u); err != nil {
				return nil, err
			}
			out[u] = true
		}
	}
	return out, nil
}

// ChangesSeen returns the memberships that others got in the range in the
// rooms that member is joined to now, in order.
func ChangesSeen(tx *db.Tx, member quinta.UserID, r Range) ([]Change, error) {
	return changes(tx, `SELECT c.room, c.member, c.pos, c.membership FROM room_member m
		JOIN room_event e ON e.room = m.room AND e.pos > $2 AND e.pos <= $3 AND e.state_key IS NOT NULL
		JOIN room_membership c ON c.room = e.room AND c.member = e.state_key AND c.pos = e.pos
		WHERE m.member = $1 AND m.membership = 'join' AND c.member <> $1 ORDER BY c.pos`, member, r.From, r.To)
}

// ChangesIn returns the memberships that anyone got in a room in the range,
// in order.
func ChangesIn(tx *db.Tx, room quinta.RoomID, r Range) ([]Change, error) {
	return changes(tx, `SELECT c.room, c.member, c.pos, c.membership FROM room_event e
		JOIN room_membership c ON c.room = e.room AND c.member = e.state_key AND c.pos = e.pos
		WHERE e.room = $1 AND e.pos > $2 AND e.pos <= $3 AND e.state_key IS NOT NULL ORDER BY c.pos`, room, r.From, r.To)
}
