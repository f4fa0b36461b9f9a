package conversation

import (
	"cmp"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Member is one user's part in a conversation.
type Member struct {
	User quinta.UserID
	// Role is what the user is in it, in the network's words.
	Role string
	// Joined is the position from which the user may read, Left that at which
	// the user left; zero if they have not.
	Joined, Left quinta.Pos
}

// In reports whether the user is in the conversation.
func (m Member) In() bool { return m.Left == 0 }

// Members returns everyone who is or was in a conversation, in the byte order
// of their ids.
func Members(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID) ([]Member, error) {
	var out []Member
	for row, err := range tx.Query(`SELECT user_id, role, joined, ended FROM conversation_member WHERE network = $1 AND conv = $2`, network, conv) {
		if err != nil {
			return nil, err
		}
		var m Member
		var u db.User
		var left *int64
		if err := row.Scan(&u, &m.Role, &m.Joined, &left); err != nil {
			return nil, err
		}
		if m.User = u.ID(); left != nil {
			m.Left = quinta.Pos(*left)
		}
		out = append(out, m)
	}
	// Not by the store, whose order of text depends on how it was made.
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.User, b.User) })
	return out, nil
}

// Join adds a user, who may read from now on. A user who is in the conversation
// already stays as they are. It reports whether the user is new to it.
func Join(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, user quinta.UserID, role string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO conversation_member (network, conv, user_id, role, joined) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (network, conv, user_id) DO UPDATE SET role = excluded.role, joined = excluded.joined, ended = NULL WHERE conversation_member.ended IS NOT NULL`,
		network, conv, db.UserOf(network, user), role, tx.NextPos())
	return n > 0, err
}

// SetRole gives another role to a user who is in the conversation, and reports
// whether there is one.
func SetRole(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, user quinta.UserID, role string) (bool, error) {
	n, err := tx.Exec(`UPDATE conversation_member SET role = $4 WHERE network = $1 AND conv = $2 AND user_id = $3 AND ended IS NULL`,
		network, conv, db.UserOf(network, user), role)
	return n > 0, err
}

// Leave takes a user out, who loses their role, and reports whether they were
// in.
func Leave(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, user quinta.UserID) (bool, error) {
	n, err := tx.Exec(`UPDATE conversation_member SET ended = $4, role = '' WHERE network = $1 AND conv = $2 AND user_id = $3 AND ended IS NULL`,
		network, conv, db.UserOf(network, user), tx.NextPos())
	return n > 0, err
}

// LeaveAll removes a user whose account is being closed from all
// conversations. Their messages stay with the recipients.
func LeaveAll(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) error {
	return tx.Queue(`UPDATE conversation_member SET ended = $2, role = '' WHERE user_id = $1 AND ended IS NULL`, db.UserOf(network, user), tx.NextPos())
}

// Of returns up to limit conversations that a user is in, those first that they
// joined first.
func Of(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, limit int) (ids []quinta.RoomID, err error) {
	for row, err := range tx.Query(`SELECT conv FROM conversation_member WHERE user_id = $1 AND ended IS NULL ORDER BY joined LIMIT $2`, db.UserOf(network, user), limit) {
		if err != nil {
			return nil, err
		}
		var id quinta.RoomID
		if err := row.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Peers returns up to limit other users who are in a conversation with the
// user, each once.
func Peers(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, limit int) (users []quinta.UserID, err error) {
	for row, err := range tx.Query(`SELECT DISTINCT b.user_id FROM conversation_member a JOIN conversation_member b ON b.network = a.network AND b.conv = a.conv
		WHERE a.user_id = $1 AND a.ended IS NULL AND b.ended IS NULL AND b.user_id <> $1 ORDER BY b.user_id LIMIT $2`, db.UserOf(network, user), limit) {
		if err != nil {
			return nil, err
		}
		var u db.User
		if err := row.Scan(&u); err != nil {
			return nil, err
		}
		users = append(users, u.ID())
	}
	return users, nil
}
