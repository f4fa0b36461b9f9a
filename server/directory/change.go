package directory

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// changeLife is how long changes are kept that a later change of the same
// user has overtaken, in milliseconds, unless there are more than maxChanges. A
// reader from before sees the later one, and misses nothing.
const changeLife = 7 * 24 * 60 * 60 * 1000

// Changed records that the keys or devices of a user have changed, for
// everyone in a room with the user and for the user.
func Changed(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) error {
	return change(tx, db.UserOf(network, user), "")
}

// ChangedFor records a change of a user that only the viewer gets to see.
func ChangedFor(tx *db.Tx, network quinta.NetworkName, user, viewer quinta.UserID) error {
	return change(tx, db.UserOf(network, user), db.UserOf(network, viewer))
}

// maxChanges bounds the changes of one user that are kept for one viewer.
const maxChanges = 1000

func change(tx *db.Tx, user, viewer db.User) error {
	if err := tx.Queue(`DELETE FROM directory_change WHERE user_id = $1 AND viewer = $2 AND pos <=
		(SELECT pos FROM directory_change WHERE user_id = $1 AND viewer = $2 ORDER BY pos DESC LIMIT 1 OFFSET $3)`, user, viewer, maxChanges-1); err != nil {
		return err
	}
	if err := tx.Queue(`DELETE FROM directory_change WHERE user_id = $1 AND viewer = $2 AND time < $3`, user, viewer, tx.Millis()-changeLife); err != nil {
		return err
	}
	return tx.Queue(`INSERT INTO directory_change (user_id, viewer, pos, time) VALUES ($1, $2, $3, $4)`, user, viewer, tx.NextPos(), tx.Millis())
}

// ChangedBetween returns the users of the network who changed after from, up to
// and including to, as far as viewer may know without regard to rooms: the
// caller takes out those with whom viewer shares none. Each user is named once.
func ChangedBetween(tx *db.Tx, network quinta.NetworkName, viewer quinta.UserID, from, to quinta.Pos) ([]quinta.UserID, error) {
	var out []quinta.UserID
	for row, err := range tx.Query(`SELECT DISTINCT user_id FROM directory_change WHERE pos > $1 AND pos <= $2 AND (viewer = '' OR viewer = $3) ORDER BY user_id`, from, to, db.UserOf(network, viewer)) {
		if err != nil {
			return nil, err
		}
		var u db.User
		if err := row.Scan(&u); err != nil {
			return nil, err
		}
		if u.Network() == network {
			out = append(out, u.ID())
		}
	}
	return out, nil
}
