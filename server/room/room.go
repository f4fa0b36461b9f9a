// Package room is the log of Matrix: rooms with members, an append-only log of
// events, state by type and key, relations, redactions, receipts, typing,
// aliases and the public directory. No other network uses it; package
// conversation has the log for networks whose messages are only sealed bodies.
//
// Event types, memberships and contents are opaque here, and the caller
// decides beforehand whether a user may do something.
//
// [Append] adds an event and keeps state and members in step with it; [Backward]
// and [Forward] read events; [State] and [StateAt] read state. All positions
// belong to the store's one order (db.Tx.NextPos), so a reader that remembers
// one position misses nothing after it in any room.
//
// Nothing here wakes waiters: the caller bumps the feed. No write costs more
// in a room with more members.
package room

import (
	"embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("room", tables)

// The memberships that this package counts; the network may have others.
const (
	Join   = "join"
	Invite = "invite"
)

// A Room is what is known of a room beside its state.
type Room struct {
	ID quinta.RoomID
	// Version names the rules that the room is under.
	Version string
	Creator quinta.UserID
	// Created is when, in Unix milliseconds.
	Created int64
	// Listed says that the room is in the public directory.
	Listed bool
	// Joined and Invited count members.
	Joined, Invited int
}

var (
	errNoRoom  = quinta.E(quinta.KindNotFound, "room", "there is no such room")
	errNoEvent = quinta.E(quinta.KindNotFound, "room", "there is no such event")
)

// Create makes an empty room.
func Create(tx *db.Tx, r Room) error {
	n, err := tx.Exec(`INSERT INTO room (id, version, creator, created, listed, joined, invited) VALUES ($1, $2, $3, $4, $5, 0, 0)
		ON CONFLICT (id) DO NOTHING`, r.ID, r.Version, r.Creator, tx.Millis(), r.Listed)
	if err == nil && n == 0 {
		err = quinta.E(quinta.KindExists, "room", "the room already exists")
	}
	return err
}

const roomColumns = `id, version, creator, created, listed, joined, invited`

func (r *Room) dest() []any {
	return []any{&r.ID, &r.Version, &r.Creator, &r.Created, &r.Listed, &r.Joined, &r.Invited}
}

// Get returns a room, or an error of KindNotFound.
func Get(tx *db.Tx, id quinta.RoomID) (Room, error) {
	var r Room
	err := tx.Row(`SELECT `+roomColumns+` FROM room WHERE id = $1`, id).Scan(r.dest()...)
	if errors.Is(err, db.ErrNoRows) {
		return r, errNoRoom
	}
	return r, err
}

// SetListed puts a room into the public directory or takes it out.
func SetListed(tx *db.Tx, id quinta.RoomID, listed bool) error {
	n, err := tx.Exec(`UPDATE room SET listed = $1 WHERE id = $2`, listed, id)
	if err == nil && n == 0 {
		err = errNoRoom
	}
	return err
}

// Listed returns up to limit rooms of the public directory, those with most
// members first, skipping the first skip.
func Listed(tx *db.Tx, skip, limit int) ([]Room, error) {
	var out []Room
	for row, err := range tx.Query(`SELECT `+roomColumns+` FROM room WHERE listed ORDER BY joined DESC, id DESC LIMIT $1 OFFSET $2`, limit, skip) {
		if err != nil {
			return nil, err
		}
		var r Room
		if err := row.Scan(r.dest()...); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
