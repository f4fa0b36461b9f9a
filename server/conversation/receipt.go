package conversation

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Receipt says how far a user has come in a conversation.
type Receipt struct {
	User quinta.UserID
	// Kind says what the user has done so far, in the network's words.
	Kind string
	// UpTo is the position of the last message that it is about.
	UpTo quinta.Pos
	// Time is when, in Unix milliseconds; Pos is the receipt's own position.
	Time int64
	Pos  quinta.Pos
}

// SetReceipt records how far a user has read. A receipt never moves
// backwards; it reports whether it moved.
func SetReceipt(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, user quinta.UserID, kind string, upTo quinta.Pos) (bool, error) {
	n, err := tx.Exec(`INSERT INTO conversation_receipt (network, conv, user_id, kind, upto, time, pos) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (network, conv, user_id, kind) DO UPDATE SET upto = excluded.upto, time = excluded.time, pos = excluded.pos WHERE conversation_receipt.upto < excluded.upto`,
		network, conv, db.UserOf(network, user), kind, upTo, tx.Millis(), tx.NextPos())
	return n > 0, err
}

// Receipts returns the receipts of a conversation, in the order of users and
// kinds.
func Receipts(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID) ([]Receipt, error) {
	var out []Receipt
	for row, err := range tx.Query(`SELECT user_id, kind, upto, time, pos FROM conversation_receipt WHERE network = $1 AND conv = $2 ORDER BY user_id, kind`, network, conv) {
		if err != nil {
			return nil, err
		}
		var r Receipt
		var u db.User
		if err := row.Scan(&u, &r.Kind, &r.UpTo, &r.Time, &r.Pos); err != nil {
			return nil, err
		}
		r.User = u.ID()
		out = append(out, r)
	}
	return out, nil
}
