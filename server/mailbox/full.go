package mailbox

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// MaxWaiting bounds the messages of one sender that wait for one device,
	// and MaxWaitingBytes their bodies. A sender, and not the mailbox, has the
	// bound: no one can fill a mailbox against all others.
	MaxWaiting      = 10_000
	MaxWaitingBytes = 64 << 20
)

// A Crowd is the messages from one sender that wait for one device, if there are too many.
type Crowd struct {
	User   db.User
	Device quinta.DeviceID
	Sender db.User
}

// Crowds returns where more waits than MaxWaiting or MaxWaitingBytes, at most
// limit of them. It looks at all that waits: call it now and then, in a view.
func Crowds(tx *db.Tx, limit int) ([]Crowd, error) {
	var out []Crowd
	for row, err := range tx.Query(`SELECT m.user_id, m.device, m.sender FROM mailbox_message m
		LEFT JOIN mailbox_cursor c ON c.user_id = m.user_id AND c.device = m.device
		WHERE m.seq > COALESCE(c.acked, 0) AND (m.expires IS NULL OR m.expires > $1)
		GROUP BY m.user_id, m.device, m.sender HAVING COUNT(*) > $2 OR CAST(SUM(LENGTH(m.body)) AS BIGINT) > $3
		ORDER BY m.user_id, m.device, m.sender LIMIT $4`, tx.Millis(), MaxWaiting, MaxWaitingBytes, limit) {
		if err != nil {
			return nil, err
		}
		var c Crowd
		if err := row.Scan(&c.User, &c.Device, &c.Sender); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// SetFull records which mailboxes are too full, in place of the earlier record.
func SetFull(tx *db.Tx, crowds []Crowd) error {
	if err := tx.Queue(`DELETE FROM mailbox_full`); err != nil {
		return err
	}
	for piece := range db.Pieces(crowds) {
		args := make([]any, 0, 3*len(piece))
		for _, c := range piece {
			args = append(args, string(c.User), string(c.Device), string(c.Sender))
		}
		if err := tx.Queue(`INSERT INTO mailbox_full (user_id, device, sender) VALUES `+db.Tuples(1, len(piece), 3), args...); err != nil {
			return err
		}
	}
	return nil
}

// A FullFor is where a sender may put nothing more.
type FullFor struct {
	asked   *db.Answer
	network quinta.NetworkName
}

// AskFull asks where a sender may put nothing more, as it was noted with
// SetFull.
func AskFull(tx *db.Tx, network quinta.NetworkName, sender quinta.UserID) (FullFor, error) {
	a, err := tx.Ask(`SELECT user_id, device FROM mailbox_full WHERE sender = $1`, db.UserOf(network, sender))
	return FullFor{a, network}, err
}

// Any reports whether one of the envelopes is for such a device.
func (f FullFor) Any(envs []quinta.Envelope) (bool, error) {
	for row, err := range f.asked.Rows() {
		if err != nil {
			return false, err
		}
		var c Crowd
		if err := row.Scan(&c.User, &c.Device); err != nil {
			return false, err
		}
		for i := range envs {
			if db.UserOf(f.network, envs[i].To) == c.User && envs[i].Device == c.Device {
				return true, nil
			}
		}
	}
	return false, nil
}
