package mailbox

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Sweep removes what nobody will ask for again: acknowledged and expired
// messages and old idempotency ids, at most about limit rows. It reports
// whether there may be more; the caller then calls it again in another
// transaction, so that other writers get their turn.
func Sweep(tx *db.Tx, limit int) (more bool, err error) {
	left, err := sweepAcked(tx, limit)
	if err != nil || left <= 0 {
		return true, err
	}
	n, err := tx.Exec(`DELETE FROM mailbox_message WHERE (user_id, device, seq) IN
		(SELECT user_id, device, seq FROM mailbox_message WHERE expires IS NOT NULL AND expires <= $1 ORDER BY expires LIMIT $2)`, tx.Millis(), left)
	if left -= int(n); err != nil || left <= 0 {
		return true, err
	}
	n, err = tx.Exec(`DELETE FROM mailbox_txn WHERE (user_id, device, txn) IN
		(SELECT user_id, device, txn FROM mailbox_txn WHERE time < $1 ORDER BY time LIMIT $2)`, tx.Millis()-TxnLife, left)
	return int(n) >= left, err
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
	n, err := tx.Exec(`DELETE FROM mailbox_message WHERE user_id = $1 AND device = $2 AND seq <= $3`, b.user, b.device, upTo)
	if err != nil {
		return 0, err
	}
	if b.gone && upTo == b.acked {
		err = tx.Queue(`DELETE FROM mailbox_cursor WHERE user_id = $1 AND device = $2`, b.user, b.device)
	} else {
		err = tx.Queue(`UPDATE mailbox_cursor SET swept = $3 WHERE user_id = $1 AND device = $2`, b.user, b.device, upTo)
	}
	return int(n), err
}
