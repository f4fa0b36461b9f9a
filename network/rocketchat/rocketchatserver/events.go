package rocketchatserver

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

// An event concerns one user, the members of one room, or everyone who is logged
// in.
func scopeUser(id string) string        { return "u " + id }
func scopeRoom(id quinta.RoomID) string { return "r " + string(id) }

// event keeps an event of a stream and wakes the connections of those whom it
// concerns, on every node. args are records of package wire.
func (s *rcServer) event(tx *db.Tx, scope, stream, key string, args ...any) error {
	return keepEvent(tx, "", "", scope, stream, key, args)
}

// event is rcServer.event for what the caller wrote, which counts for the caller
// until it is removed.
func (c *call) event(tx *db.Tx, scope, stream, key string, args ...any) error {
	return keepEvent(tx, c.me.ID, "", scope, stream, key, args)
}

// keepEvent keeps an event that counts for a user, unless owner is empty. otr is empty,
// or the id of a room with a conversation off the record to which the event belongs.
func keepEvent(tx *db.Tx, owner string, otr quinta.RoomID, scope, stream, key string, args []any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("rocketchat: an event cannot be written: %w", err)
	}
	if len(args) == 0 {
		raw = []byte("[]")
	}
	if raw, err = wire.EJSON(raw); err != nil {
		return err
	}
	tx.Count(db.UserOf(name, quinta.UserID(owner)), db.ClassQueue, int64(len(raw))+db.RowBytes)
	if err := tx.Queue(`INSERT INTO rocketchat_event (pos, scope, stream, name, args, at, otr, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		tx.NextPos(), scope, stream, key, raw, tx.Millis(), string(otr), owner); err != nil {
		return err
	}
	if id, ok := strings.CutPrefix(scope, "u "); ok {
		feed.Bump(tx, feed.User(name, quinta.UserID(id)))
	} else {
		feed.Bump(tx, feed.Room(name, quinta.RoomID(strings.TrimPrefix(scope, "r "))))
	}
	return nil
}

// subChanged tells a user that their part in a room is another.
func (s *rcServer) subChanged(tx *db.Tx, action string, sub *subRow, room *roomRow, p person) error {
	return s.event(tx, scopeUser(p.ID), "stream-notify-user", p.ID+"/subscriptions-changed", action, sub.shown(room, p))
}

// eachMember begins the name of an event of a room that each member hears as an
// event of their own, since a connection asks for its user's rooms. It is kept once,
// however many members there are.
const eachMember = "*/"

// roomChanged tells the members of a room that it is another.
func (s *rcServer) roomChanged(tx *db.Tx, action string, r *roomRow) error {
	shown, err := r.shown(tx)
	if err != nil {
		return err
	}
	return s.event(tx, scopeRoom(r.ID), "stream-notify-user", eachMember+"rooms-changed", action, shown)
}

// removeEvents removes events and gives their owners the bytes back.
func removeEvents(tx *db.Tx, where string, args ...any) error {
	return countEvents(tx, -1, `DELETE FROM rocketchat_event WHERE `+where+` RETURNING owner, LENGTH(args) + `+db.RowCost, args...)
}

// countEvents counts for their owners what the rows of a statement say, times sign.
func countEvents(tx *db.Tx, sign int64, sql string, args ...any) error {
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return err
		}
		var owner quinta.UserID
		var n int64
		if err := row.Scan(&owner, &n); err != nil {
			return err
		}
		tx.Count(db.UserOf(name, owner), db.ClassQueue, sign*n)
	}
	return nil
}

// A heard is an event as a connection takes it.
type heard struct {
	pos                 quinta.Pos
	scope, stream, name string
	args                []byte
}

// eventsAtOnce bounds what one look gives.
const eventsAtOnce = 500

// eventsAfter returns the events after a position that concern a user: their own,
// and those of the rooms that they are in now.
func eventsAfter(tx *db.Tx, user string, after quinta.Pos) ([]heard, error) {
	var out []heard
	for row, err := range tx.Query(`SELECT pos, scope, stream, name, args FROM rocketchat_event WHERE pos > $1
		AND (scope = $2 OR scope IN (SELECT 'r ' || room FROM rocketchat_sub WHERE user_id = $3)) ORDER BY pos LIMIT $4`,
		after, scopeUser(user), user, eventsAtOnce) {
		if err != nil {
			return nil, err
		}
		var e heard
		if err := row.Scan(&e.pos, &e.scope, &e.stream, &e.name, &e.args); err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(e.name, eachMember); ok {
			e.name = user + "/" + rest
		}
		out = append(out, e)
	}
	return out, nil
}
