// Package conversation keeps conversations whose messages arrive sealed and are
// never inspected: members, who may read from the position at which they
// joined; an append-only log; receipts.
//
// [New] makes a conversation, [Join] and [Leave] change its members, [Append]
// adds a message, [Backward] reads the log. Kinds, roles, types and formats are
// defined by the network. The caller decides whether a user may do something,
// which devices get a message (package mailbox) and which are woken (package
// feed). Anything else that a network has, such as edits, is stored in its own
// tables.
//
// Matrix has a log of its own, package room, because its rooms are made of
// events that are state, relate to each other and can be redacted.
package conversation

import (
	"embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("conversation", tables)

// A Conversation is one row, without its members and messages.
type Conversation struct {
	ID quinta.RoomID
	// Kind is the network's name for its kind. It never changes.
	Kind    string
	Creator quinta.UserID
	// Created is when, in Unix milliseconds.
	Created int64
}

// Errors that callers distinguish.
var (
	// ErrUnknown: there is no such conversation, or no such message in it.
	ErrUnknown = quinta.E(quinta.KindNotFound, "conversation", "there is no such conversation or message")
	// ErrExists: there is a conversation or a message of this id.
	ErrExists = quinta.E(quinta.KindExists, "conversation", "the id is taken")
)

// New makes a conversation without members, created now, or fails with
// ErrExists.
func New(tx *db.Tx, network quinta.NetworkName, c Conversation) error {
	n, err := tx.Exec(`INSERT INTO conversation (network, id, kind, creator, created) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (network, id) DO NOTHING`,
		network, c.ID, c.Kind, db.UserOf(network, c.Creator), tx.Millis())
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// Get returns a conversation, or ErrUnknown.
func Get(tx *db.Tx, network quinta.NetworkName, id quinta.RoomID) (Conversation, error) {
	c := Conversation{ID: id}
	var creator db.User
	err := tx.Row(`SELECT kind, creator, created FROM conversation WHERE network = $1 AND id = $2`, network, id).Scan(&c.Kind, &creator, &c.Created)
	if errors.Is(err, db.ErrNoRows) {
		return c, ErrUnknown
	}
	c.Creator = creator.ID()
	return c, err
}
