package wire

import "github.com/quinta-chat/quinta"

// The kinds of receipts.
const (
	ReceiptRead    = "m.read"
	ReceiptPrivate = "m.read.private"
	// ThreadMain is the thread of what is in no thread.
	ThreadMain = "main"
)

// Receipts is the content of m.receipt: event, kind, user.
type Receipts map[quinta.MessageID]map[string]map[quinta.UserID]ReceiptTime

// A ReceiptTime is when a receipt was sent, in Unix milliseconds, and the
// thread that it is for, "" for all.
type ReceiptTime struct {
	Time   int64  `json:"ts"`
	Thread string `json:"thread_id,omitempty"`
}
