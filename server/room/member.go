package room

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Member is the membership of one member in one room.
type Member struct {
	Room       quinta.RoomID
	Member     quinta.UserID
	Membership string
	// Pos is the position of the event that set it.
	Pos quinta.Pos
	// Joined is the position of the event that last began a "join", 0 if the
	// member never joined.
	Joined quinta.Pos
	// Forgotten says that the member does not want to hear of the room.
	Forgotten bool
}

// setMembership keeps the members in step with the event e.
func setMembership(tx *db.Tx, e *Event, m *Membership) error {
	old, err := MemberOf(tx, e.Room, m.Member)
	if err != nil {
		return err
	}
	joined := any(nil)
	switch {
	case m.Membership == Join && old.Membership != Join:
		joined = e.Pos
	case old.Joined != 0:
		joined = old.Joined
	}
	if err := tx.Queue(`INSERT INTO room_member (room, member, membership, pos, joined, forgotten) VALUES ($1, $2, $3, $4, $5, FALSE)
		ON CONFLICT (room, member) DO UPDATE SET membership = excluded.membership, pos = excluded.pos, joined = excluded.joined,
			forgotten = room_member.forgotten AND excluded.membership = room_member.membership`,
		e.Room, m.Member, m.Membership, e.Pos, joined); err != nil {
		return err
	}
	if err := tx.Queue(`INSERT INTO room_membership (room, member, pos, membership) VALUES ($1, $2, $3, $4)`,
		e.Room, m.Member, e.Pos, m.Membership); err != nil {
		return err
	}
	if old.Membership == m.Membership {
		return nil
	}
	return tx.Queue(`UPDATE room SET joined = joined + $1, invited = invited + $2 WHERE id = $3`,
		count(m.Membership, Join)-count(old.Membership, Join), count(m.Membership, Invite)-count(old.Membership, Invite), e.Room)
}

func count(have, want string) int {
	if have == want {
		return 1
	}
	return 0
}

const memberColumns = `room, member, membership, pos, COALESCE(joined, 0), forgotten`

func (m *Member) dest() []any {
	return []any{&m.Room, &m.Member, &m.Membership, &m.Pos, &m.Joined, &m.Forgotten}
}

func members(tx *db.Tx, sql string, args ...any) ([]Member, error) {
	var out []Member
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var m Member
		if err := row.Scan(m.dest()...); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// MemberOf returns the current membership of member in room. A user who never
// had one has the Membership "" and the Pos 0.
func MemberOf(tx *db.Tx, room quinta.RoomID, member quinta.UserID) (Member, error) {
	m := Member{Room: room, Member: member}
	err := tx.Row(`SELECT `+memberColumns+` FROM room_member WHERE room = $1 AND member = $2`, room, member).Scan(m.dest()...)
	if errors.Is(err, db.ErrNoRows) {
		err = nil
	}
	return m, err
}

// RoomsOf returns all memberships of member, forgotten ones too, in the order
// of the events that set them.
func RoomsOf(tx *db.Tx, member quinta.UserID) ([]Member, error) {
	return members(tx, `SELECT `+memberColumns+` FROM room_member WHERE member = $1 ORDER BY pos`, member)
}

// RoomsWith returns the rooms in which member has the membership given.
func RoomsWith(tx *db.Tx, member quinta.UserID, membership string) ([]Member, error) {
	return members(tx, `SELECT `+memberColumns+` FROM room_member WHERE member = $1 AND membership = $2 ORDER BY pos`, member, membership)
}

// Members returns up to limit members of a room with the membership given, in
// the order of the events that set it.
func Members(tx *db.Tx, room quinta.RoomID, membership string, limit int) ([]Member, error) {
	return members(tx, `SELECT `+memberColumns+` FROM room_member WHERE room = $1 AND membership = $2 ORDER BY pos LIMIT $3`, room, membership, limit)
}

// MembershipAt returns the membership that member had right after position
// pos, "" if they had none yet.
func MembershipAt(tx *db.Tx, room quinta.RoomID, member quinta.UserID, pos quinta.Pos) (string, error) {
	var s string
	err := tx.Row(`SELECT membership FROM room_membership WHERE room = $1 AND member = $2 AND pos <= $3 ORDER BY pos DESC LIMIT 1`, room, member, pos).Scan(&s)
	if errors.Is(err, db.ErrNoRows) {
		err = nil
	}
	return s, err
}

// A Change is a membership that someone got at a position.
type Change struct {
	Room       quinta.RoomID
	Member     quinta.UserID
	Pos        quinta.Pos
	Membership string
}

func changes(tx *db.Tx, sql string, args ...any) ([]Change, error) {
	var out []Change
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var c Change
		if err := row.Scan(&c.Room, &c.Member, &c.Pos, &c.Membership); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// History returns all memberships that member ever had in room, in order.
func History(tx *db.Tx, room quinta.RoomID, member quinta.UserID) ([]Change, error) {
	return changes(tx, `SELECT room, member, pos, membership FROM room_membership WHERE room = $1 AND member = $2 ORDER BY pos`, room, member)
}

// ChangesOf returns the memberships that member got in the range, over all
// rooms, in order.
func ChangesOf(tx *db.Tx, member quinta.UserID, r Range) ([]Change, error) {
	return changes(tx, `SELECT room, member, pos, membership FROM room_membership WHERE member = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`, member, r.From, r.To)
}

// Forget notes that member does not want to hear of the room any more, until
// their membership changes.
func Forget(tx *db.Tx, room quinta.RoomID, member quinta.UserID) error {
	return tx.Queue(`UPDATE room_member SET forgotten = TRUE WHERE room = $1 AND member = $2`, room, member)
}
