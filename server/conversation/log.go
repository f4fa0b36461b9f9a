package conversation

import (
	"errors"
	"iter"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Message is one entry of the log.
type Message struct {
	Conv quinta.RoomID
	// Pos is its position: unique in the store, and growing in each
	// conversation.
	Pos quinta.Pos
	// ID is its id, unique in the conversation.
	ID     quinta.MessageID
	Sender quinta.UserID
	Device quinta.DeviceID
	// Txn, if not empty, is the sending device's own id for the message, unique
	// among those of the device.
	Txn quinta.TxnID
	// Type says what the message is, and Form which form its body has, in the
	// network's words.
	Type, Form string
	Body       []byte
	// Sum is a hash of the request that brought the message, by which the
	// caller tells a repeat from another message of the same id.
	Sum []byte
	// Time is when it came, in Unix milliseconds.
	Time int64
}

// Append adds a message to the log, and returns it with its position and time.
// An id or transaction id that is there already gives ErrExists: the caller
// looks with [ByID] or [ByTxn] first.
func Append(tx *db.Tx, network quinta.NetworkName, m Message) (Message, error) {
	m.Pos, m.Time = tx.NextPos(), tx.Millis()
	if m.Body == nil {
		m.Body = []byte{}
	}
	if m.Sum == nil {
		m.Sum = []byte{}
	}
	var txn *quinta.TxnID
	if m.Txn != "" {
		txn = &m.Txn
	}
	n, err := tx.Exec(`INSERT INTO conversation_message (network, conv, pos, id, sender, device, txn, type, form, body, sum, time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		network, m.Conv, m.Pos, m.ID, db.UserOf(network, m.Sender), m.Device, txn, m.Type, m.Form, m.Body, m.Sum, m.Time)
	if err == nil && n == 0 {
		err = ErrExists
	}
	tx.Count(db.UserOf(network, m.Sender), db.ClassMessages, int64(len(m.Body))+db.RowBytes)
	return m, err
}

// CountAll counts all messages again, see [db.Tx.Count].
func CountAll(tx *db.Tx) error {
	for row, err := range tx.Query(`SELECT sender, CAST(SUM(LENGTH(body) + ` + db.RowCost + `) AS BIGINT) FROM conversation_message GROUP BY sender`) {
		if err != nil {
			return err
		}
		var sender db.User
		var n int64
		if err := row.Scan(&sender, &n); err != nil {
			return err
		}
		tx.Count(sender, db.ClassMessages, n)
	}
	return nil
}

const columns = `SELECT conv, pos, id, sender, device, txn, type, form, body, sum, time FROM conversation_message WHERE `

// At returns the message at a position, or ErrUnknown.
func At(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, pos quinta.Pos) (Message, error) {
	return one(tx.Row(columns+`network = $1 AND conv = $2 AND pos = $3`, network, conv, pos))
}

// ByID returns the message of an id, or ErrUnknown.
func ByID(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, id quinta.MessageID) (Message, error) {
	return one(tx.Row(columns+`network = $1 AND conv = $2 AND id = $3`, network, conv, id))
}

// ByTxn returns the message that a device has sent under a transaction id, or
// ErrUnknown.
func ByTxn(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, txn quinta.TxnID) (Message, error) {
	return one(tx.Row(columns+`sender = $1 AND device = $2 AND txn = $3`, db.UserOf(network, user), device, txn))
}

func one(row db.OneRow) (Message, error) {
	m, err := scan(row.Scan)
	if errors.Is(err, db.ErrNoRows) {
		err = ErrUnknown
	}
	return m, err
}

func scan(scan func(...any) error) (m Message, err error) {
	var sender db.User
	var txn *string
	err = scan(&m.Conv, &m.Pos, &m.ID, &sender, &m.Device, &txn, &m.Type, &m.Form, &m.Body, &m.Sum, &m.Time)
	if m.Sender = sender.ID(); txn != nil {
		m.Txn = quinta.TxnID(*txn)
	}
	return m, err
}

// Backward yields up to limit messages of a conversation with positions between two
// others, both excluded, newest first: those of one type, or all if it is
// empty. A failure is yielded as the last pair. No other statement may run
// inside the loop.
func Backward(tx *db.Tx, network quinta.NetworkName, conv quinta.RoomID, after, before quinta.Pos, typ string, limit int) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for row, err := range tx.Query(columns+`network = $1 AND conv = $2 AND pos > $3 AND pos < $4 AND ($5 = '' OR type = $5) ORDER BY pos DESC LIMIT $6`,
			network, conv, after, before, typ, limit) {
			if err != nil {
				yield(Message{}, err)
				return
			}
			m, err := scan(row.Scan)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}
