// Package mailbox keeps messages, each for one device: they are durable
// before the sender has an answer, have one order, and are delivered until
// they are acknowledged.
//
// [Put] appends, [Read] gives the next page, [Ack] records how far a device
// has stored what it received. An acknowledgement only moves a cursor;
// [Sweep] removes the rows later. [Once] makes sending idempotent: call it in
// the same transaction as Put.
//
// The set does not know which devices there are: the caller of Put looks that
// up first, in the same transaction, and wakes the device.
package mailbox

import (
	"embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("mailbox", tables)

// MaxPage bounds the bodies of one page in bytes. A page always has one
// message, however long.
const MaxPage = 2 << 20

// A Message is an envelope in the mailbox of the device that it is for.
type Message struct {
	quinta.Envelope
	// Pos is its position: unique in the store, and growing in each mailbox.
	Pos quinta.Pos
}

// Put appends each envelope to the mailbox of its device. If expires is not
// zero, what has not been read at that time, in Unix milliseconds, is not
// delivered any more.
func Put(tx *db.Tx, network quinta.NetworkName, expires int64, envs ...quinta.Envelope) error {
	var exp any
	if expires != 0 {
		exp = expires
	}
	args := make([]any, 0, 7*min(len(envs), 128))
	for piece := range db.Pieces(envs) {
		args = args[:0]
		for i := range piece {
			e := &piece[i]
			body := e.Body
			if body == nil {
				body = []byte{}
			}
			from := db.UserOf(network, e.From)
			tx.Count(from, db.ClassQueue, int64(len(body))+db.RowBytes)
			args = append(args, string(db.UserOf(network, e.To)), string(e.Device), int64(tx.NextPos()), string(from), e.Type, body, exp)
		}
		if err := tx.Queue(`INSERT INTO mailbox_message (user_id, device, seq, sender, type, body, expires) VALUES `+db.Tuples(1, len(piece), 7), args...); err != nil {
			return err
		}
	}
	return nil
}

// Read returns the oldest messages of a device after a position, at most
// limit, without those that are acknowledged or have expired. more says that
// there are others behind them.
func Read(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, after quinta.Pos, limit int) (page []Message, more bool, err error) {
	acked, err := Acked(tx, network, user, device)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for row, err := range tx.Query(`SELECT seq, sender, type, body FROM mailbox_message
		WHERE user_id = $1 AND device = $2 AND seq > $3 AND (expires IS NULL OR expires > $4) ORDER BY seq LIMIT $5`,
		db.UserOf(network, user), device, max(after, acked), tx.Millis(), limit+1) {
		if err != nil {
			return nil, false, err
		}
		if len(page) == limit || (size >= MaxPage && len(page) > 0) {
			return page, true, nil
		}
		m := Message{Envelope: quinta.Envelope{To: user, Device: device}}
		var from db.User
		if err := row.Scan(&m.Pos, &from, &m.Type, &m.Body); err != nil {
			return nil, false, err
		}
		m.From = from.ID()
		size += len(m.Body)
		page = append(page, m)
	}
	return page, false, nil
}

// Acked returns how far the device has acknowledged.
func Acked(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) (quinta.Pos, error) {
	var acked quinta.Pos
	err := tx.Row(`SELECT acked FROM mailbox_cursor WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), device).Scan(&acked)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil
	}
	return acked, err
}

// Unacked reports whether there are messages up to and including a position
// that are not acknowledged, so that an Ack there would change anything.
func Unacked(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, upTo quinta.Pos) (bool, error) {
	var one int
	err := tx.Row(`SELECT 1 FROM mailbox_message WHERE user_id = $1 AND device = $2 AND seq <= $3
		AND seq > COALESCE((SELECT acked FROM mailbox_cursor WHERE user_id = $1 AND device = $2), 0) LIMIT 1`,
		db.UserOf(network, user), device, upTo).Scan(&one)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Ack says that the device has stored all messages up to and including a
// position: they are not delivered again. A cursor never moves backwards, and
// never beyond the last message.
func Ack(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, upTo quinta.Pos) error {
	now, err := tx.Pos()
	if err != nil {
		return err
	}
	return tx.Queue(`INSERT INTO mailbox_cursor (user_id, device, acked, swept, gone) VALUES ($1, $2, $3, 0, FALSE)
		ON CONFLICT (user_id, device) DO UPDATE SET acked = excluded.acked WHERE mailbox_cursor.acked < excluded.acked`,
		db.UserOf(network, user), device, min(upTo, now))
}

// Remove empties the mailbox of a device that is removed, and forgets what it
// has sent. A later device of the same name begins with an empty mailbox.
func Remove(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) error {
	if err := tx.Queue(`INSERT INTO mailbox_cursor (user_id, device, acked, swept, gone) VALUES ($1, $2, $3, 0, TRUE)
		ON CONFLICT (user_id, device) DO UPDATE SET acked = excluded.acked, gone = TRUE`,
		db.UserOf(network, user), device, tx.NextPos()); err != nil {
		return err
	}
	if err := tx.Queue(`DELETE FROM mailbox_full WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), device); err != nil {
		return err
	}
	_, err := removeTxns(tx, `user_id = $1 AND device = $2`, db.UserOf(network, user), device)
	return err
}

// removeTxns forgets idempotency ids, and returns how many there were.
func removeTxns(tx *db.Tx, where string, args ...any) (int, error) {
	return count(tx, -1, `DELETE FROM mailbox_txn WHERE `+where+` RETURNING user_id, 0, 1`, args...)
}

// TxnLife is how long what a device has sent is remembered, in milliseconds.
const TxnLife = 7 * 24 * 60 * 60 * 1000

// Once notes that a device sends something under an idempotency id, and
// reports whether that is the first time.
func Once(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, txn quinta.TxnID) (bool, error) {
	s, err := Note(tx, network, user, device, txn)
	if err != nil {
		return false, err
	}
	return s.First()
}

// A Sending is something that a device sends under an idempotency id.
type Sending struct {
	tx    *db.Tx
	by    db.User
	noted *db.Answer
}

// Note is Once for a caller that asks the store for more before it must know
// whether it is the first time, so that it waits only once.
func Note(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, txn quinta.TxnID) (Sending, error) {
	by := db.UserOf(network, user)
	noted, err := tx.Ask(`INSERT INTO mailbox_txn (user_id, device, txn, time) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, device, txn) DO NOTHING`,
		by, device, txn, tx.Millis())
	return Sending{tx, by, noted}, err
}

// First reports whether the id was new. A new one counts for its sender until it
// is forgotten. First is called once.
func (s Sending) First() (bool, error) {
	n, err := s.noted.Changed()
	s.tx.Count(s.by, db.ClassQueue, n*db.RowBytes)
	return n > 0, err
}
