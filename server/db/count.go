package db

// A Class is a kind of bytes that the store keeps for a user, as they are
// counted.
type Class string

// The classes.
const (
	// ClassMedia are files.
	ClassMedia Class = "media"
	// ClassBackup are backups of sealed keys.
	ClassBackup Class = "backup"
	// ClassData is what users store for themselves under a name, and their keys.
	ClassData Class = "data"
	// ClassQueue is messages that a user has sent and that wait for their recipients.
	ClassQueue Class = "queue"
	// ClassMessages is what a user has sent to rooms and conversations, which
	// keep it.
	ClassMessages Class = "messages"
)

// RowBytes is what a row counts besides the bytes in it: small rows take room
// too, and somebody could store any number of empty ones. RowCost is the same
// for statements.
const (
	RowBytes = 128
	RowCost  = "128"
)

// Classes returns every class.
func Classes() []Class {
	return []Class{ClassMedia, ClassBackup, ClassData, ClassQueue, ClassMessages}
}

// A Count is how many bytes a transaction adds to what is kept for a user.
type Count struct {
	User  User
	Class Class
	Bytes int64 // less than zero: they were given back
}

// Count notes that the transaction keeps n bytes more for a user; n is less
// than zero if it gives bytes back. A set calls it wherever it stores or
// removes what may be large. The code that runs the transaction asks for the
// sums with Counts before it ends and acts on them; see package server. A
// user without an id, such as the server itself, is not counted.
func (tx *Tx) Count(u User, class Class, n int64) {
	if !tx.write {
		panic("db: internal error: Count in a read-only transaction")
	}
	if n == 0 || u.ID() == "" {
		return
	}
	for i := range tx.counts {
		if c := &tx.counts[i]; c.User == u && c.Class == class {
			c.Bytes += n
			return
		}
	}
	tx.counts = append(tx.counts, Count{u, class, n})
}

// Counts returns the sums of what was noted with Count.
func (tx *Tx) Counts() []Count { return tx.counts }
