package room

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Receipt says how far a member has read.
type Receipt struct {
	Room   quinta.RoomID
	Member quinta.UserID
	// Kind is in the network's words.
	Kind string
	// Thread is the thread that the receipt is for, "" for the whole room.
	Thread string
	Event  quinta.MessageID
	// Upto is the position of Event.
	Upto quinta.Pos
	// Time is when it was given, in Unix milliseconds.
	Time int64
	// Pos is the position of the receipt itself.
	Pos quinta.Pos
}

// PutReceipt keeps a receipt, if it is for a newer event than the one there
// is of its member, kind and thread. It reports whether it was kept, and sets
// r.Time and r.Pos.
func PutReceipt(tx *db.Tx, r *Receipt) (bool, error) {
	var have quinta.Pos
	err := tx.Row(`SELECT upto FROM room_receipt WHERE room = $1 AND member = $2 AND kind = $3 AND thread = $4`, r.Room, r.Member, r.Kind, r.Thread).Scan(&have)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, err
	}
	if err == nil && have >= r.Upto {
		return false, nil
	}
	r.Time, r.Pos = tx.Millis(), tx.NextPos()
	err = tx.Queue(`INSERT INTO room_receipt (room, member, kind, thread, event, upto, time, pos) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (room, member, kind, thread) DO UPDATE SET event = excluded.event, upto = excluded.upto, time = excluded.time, pos = excluded.pos`,
		r.Room, r.Member, r.Kind, r.Thread, r.Event, r.Upto, r.Time, r.Pos)
	return err == nil, err
}

// Receipts returns the receipts of a room that were given in the range, in
// the order in which they were given.
func Receipts(tx *db.Tx, room quinta.RoomID, r Range) ([]Receipt, error) {
	return receipts(tx, `SELECT `+receiptColumns+` FROM room_receipt WHERE room = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`, room, r.From, r.To)
}

// ReceiptsOf returns the receipts of one member in a room.
func ReceiptsOf(tx *db.Tx, room quinta.RoomID, member quinta.UserID) ([]Receipt, error) {
	return receipts(tx, `SELECT `+receiptColumns+` FROM room_receipt WHERE room = $1 AND member = $2 ORDER BY pos`, room, member)
}

const receiptColumns = `room, member, kind, thread, event, upto, time, pos`

func receipts(tx *db.Tx, sql string, args ...any) ([]Receipt, error) {
	var out []Receipt
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var r Receipt
		if err := row.Scan(&r.Room, &r.Member, &r.Kind, &r.Thread, &r.Event, &r.Upto, &r.Time, &r.Pos); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
