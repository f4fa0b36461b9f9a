package mailbox

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Sweep removes what no one will ask for again: acknowledged and expired
// messages and old idempotency ids, at most about limit rows. It reports
// whether there may be more; the caller then calls it again in another
// transaction, so that other writers get their turn.
func Sweep(tx *db.Tx, limit int) (more bool, err error) {
	left, err := sweepAcked(tx, limit)
	if err != nil || left <= 0 {
		return true, err
	}
	gone, err := remove(tx, `(user_id, device, seq) IN
		(SELECT user_id, device, seq FROM mailbox_message WHERE expires IS NOT NULL AND expires <= $1 ORDER BY expires LIMIT $2)`, tx.Millis(), left)
	if left -= gone; err != nil || left <= 0 {
		return true, err
	}
	n, err := removeTxns(tx, `(user_id, device, txn) IN
		(SELECT user_id, device, txn FROM mailbox_txn WHERE time < $1 ORDER BY time LIMIT $2)`, tx.Millis()-TxnLife, left)
	return n >= left, err
}

// A box is a cursor with rows behind it.
type box struct {
	user         db.User
	device       quinta.DeviceID
	acked, swept quinta.Pos
	gone         bool
}

// sweepAcked removes acknowledged messages, each mailbox in its order, and
// returns how many more rows it could have removed.
func sweepAcked(tx *db.Tx, limit int) (left int, err error) {
	var boxes []box
	for row, err := range tx.Query(`SELECT user_id, device, acked, swept, gone FROM mailbox_cursor WHERE acked > swept LIMIT $1`, limit) {
		if err != nil {
			return 0, err
		}
		var b box
		if err := row.Scan(&b.user, &b.device, &b.acked, &b.swept, &b.gone); err != nil {
			return 0, err
		}
		boxes = append(boxes, b)
	}
	left = limit - len(boxes)
	for _, b := range boxes {
		n, err := b.sweep(tx, max(left, 1))
		if err != nil {
			return 0, err
		}
		if left -= n; left <= 0 {
			break
		}
	}
	return left, nil
}

// sweep removes at most limit rows of one mailbox.
func (b *box) sweep(tx *db.Tx, limit int) (int, error) {
	upTo := b.acked
	err := tx.Row(`SELECT seq FROM mailbox_message WHERE user_id = $1 AND device = $2 AND seq <= $3 ORDER BY seq LIMIT 1 OFFSET $4`,
		b.user, b.device, b.acked, limit-1).Scan(&upTo)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return 0, err
	}
	n, err := remove(tx, `user_id = $1 AND device = $2 AND seq <= $3`, b.user, b.device, upTo)
	if err != nil {
		return 0, err
	}
	if b.gone && upTo == b.acked {
		err = tx.Queue(`DELETE FROM mailbox_cursor WHERE user_id = $1 AND device = $2`, b.user, b.device)
	} else {
		err = tx.Queue(`UPDATE mailbox_cursor SET swept = $3 WHERE user_id = $1 AND device = $2`, b.user, b.device, upTo)
	}
	return n, err
}

// remove removes messages, gives their senders the bytes back, and returns how
// many there were.
func remove(tx *db.Tx, where string, args ...any) (int, error) {
	return count(tx, -1, `DELETE FROM mailbox_message WHERE `+where+` RETURNING sender, LENGTH(body), 1`, args...)
}

// CountAll counts all that waits, and all idempotency ids, again; see
// [db.Tx.Count].
func CountAll(tx *db.Tx) error {
	if _, err := count(tx, 1, `SELECT user_id, 0, COUNT(*) FROM mailbox_txn GROUP BY user_id`); err != nil {
		return err
	}
	_, err := count(tx, 1, `SELECT sender, CAST(SUM(LENGTH(body)) AS BIGINT), COUNT(*) FROM mailbox_message GROUP BY sender`)
	return err
}

// count counts what the rows of a statement say, which are a user, bytes, and
// rows, times sign. It returns how many rows the statement had.
func count(tx *db.Tx, sign int64, sql string, args ...any) (rows int, err error) {
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return 0, err
		}
		var sender db.User
		var n, held int64
		if err := row.Scan(&sender, &n, &held); err != nil {
			return 0, err
		}
		tx.Count(sender, db.ClassQueue, sign*(n+held*db.RowBytes))
		rows++
	}
	return rows, nil
}
