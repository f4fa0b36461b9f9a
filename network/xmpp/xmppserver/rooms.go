package xmppserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// roomAge is how long the lists of a room are believed after they were read.
const roomAge = 30 * time.Second

// maxMembers bounds the members of a room.
const maxMembers = 10_000

// A roomState is what a room says of itself: its members, and why it cannot be
// served, if it cannot.
type roomState struct {
	frozen  string
	members []quinta.UserID
}

// freshRoom sees to it that the lists of a room are known and not too old.
func (s *xmppServer) freshRoom(ctx context.Context, room quinta.RoomID) error {
	unlock, err := s.rooms.lock(ctx, room)
	if err != nil {
		return err
	}
	defer unlock()
	var checked int64
	err = s.View(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT checked FROM xmpp_room WHERE room = $1`, room).Scan(&checked)
	})
	known := !errors.Is(err, db.ErrNoRows)
	if err != nil && known {
		return err
	}
	if age := s.Now().UnixMilli() - checked; checked != 0 && age >= 0 && age < roomAge.Milliseconds() {
		return nil
	}
	return s.readRoom(ctx, room, known)
}

// readRoom reads the lists of a room and stores them. Of a room that is not
// known yet and cannot be served nothing is stored.
func (s *xmppServer) readRoom(ctx context.Context, room quinta.RoomID, known bool) error {
	began := s.Now()
	state, err := s.rooms.read(ctx, room)
	if err != nil {
		return err
	}
	if !known && state.frozen != "" {
		return errFrozen(state.frozen)
	}
	var told []hint
	if err := s.Update(ctx, func(tx *db.Tx) error {
		told = nil
		return applyRoom(tx, room, began, state, func(h hint) { told = append(told, h) })
	}); err != nil {
		return err
	}
	s.tellNow(told)
	return nil
}

// applyRoom stores the lists of a room. Someone who is not listed any more is
// given nothing from now on; someone new is given the keys that are made after
// this.
func applyRoom(tx *db.Tx, room quinta.RoomID, at time.Time, state *roomState, tell func(hint)) error {
	id := keysrv.RoomID(room)
	have, err := membersOf(tx, id)
	if err != nil {
		return err
	}
	var known string
	err = tx.Row(`SELECT conversation FROM xmpp_room WHERE room = $1`, room).Scan(&known)
	first := errors.Is(err, db.ErrNoRows)
	if err != nil && !first {
		return err
	}
	if err := tx.Queue(`INSERT INTO xmpp_room (room, conversation, checked, frozen) VALUES ($1, $2, $3, $4) ON CONFLICT (room) DO UPDATE SET checked = excluded.checked, frozen = excluded.frozen`,
		room, id, at.UnixMilli(), state.frozen); err != nil {
		return err
	}
	if state.frozen != "" {
		return nil // its lists say nothing
	}
	changed := false
	for _, u := range state.members {
		if _, there := have[u]; there {
			continue
		}
		since := quinta.Pos(0)
		if !first {
			since, changed = tx.NextPos(), true
		}
		if err := tx.Queue(`INSERT INTO xmpp_member (conversation, user_id, since) VALUES ($1, $2, $3)`, id, u, since); err != nil {
			return err
		}
		if err := audit(tx, record{Action: "joined", User: u, Conversation: id, Detail: string(room)}); err != nil {
			return err
		}
	}
	for u := range have {
		if slices.Contains(state.members, u) {
			continue
		}
		changed = true
		for _, sql := range []string{`DELETE FROM xmpp_member WHERE conversation = $1 AND user_id = $2`,
			`DELETE FROM xmpp_want WHERE user_id = $2 AND key_id IN (SELECT id FROM xmpp_key WHERE conversation = $1)`} {
			if _, err := tx.Exec(sql, id, u); err != nil {
				return err
			}
		}
		if err := audit(tx, record{Action: "removed", User: u, Conversation: id, Detail: string(room)}); err != nil {
			return err
		}
	}
	if changed {
		for _, u := range state.members[:min(len(state.members), maxPeers)] {
			tell(hint{to: u, what: wire.Hint{Changed: string(room)}})
		}
	}
	return nil
}

// membersOf returns the members of a room, with the positions from which on they
// are given keys.
func membersOf(tx *db.Tx, id string) (map[quinta.UserID]quinta.Pos, error) {
	out := map[quinta.UserID]quinta.Pos{}
	for row, err := range tx.Query(`SELECT user_id, since FROM xmpp_member WHERE conversation = $1`, id) {
		if err != nil {
			return nil, err
		}
		var u quinta.UserID
		var since quinta.Pos
		if err := row.Scan(&u, &since); err != nil {
			return nil, err
		}
		out[u] = since
	}
	return out, nil
}

// A roomRow is a room as it is stored.
type roomRow struct {
	frozen  string
	checked int64
	members map[quinta.UserID]quinta.Pos
}

// roomByJID returns a room with its members, or nil if its lists are not known
// or are too old to be believed.
func (s *xmppServer) roomByJID(tx *db.Tx, room quinta.RoomID) (*roomRow, error) {
	r := &roomRow{}
	var id string
	err := tx.Row(`SELECT conversation, checked, frozen FROM xmpp_room WHERE room = $1`, room).Scan(&id, &r.checked, &r.frozen)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A call that began in time may take its own time.
	if age := tx.Now().UnixMilli() - r.checked; r.checked == 0 || age < -roomAge.Milliseconds() || age > (roomAge+callTimeout).Milliseconds() {
		return nil, nil
	}
	r.members, err = membersOf(tx, id)
	return r, err
}

// allowed puts the users into a key row who may have the key.
func (s *xmppServer) allowed(tx *db.Tx, k *keyRow) error {
	if k.users[1] != "" {
		return nil
	}
	k.room = quinta.RoomID(k.users[0])
	k.users = nil
	r, err := s.roomByJID(tx, k.room)
	if err != nil || r == nil || r.frozen != "" {
		return err
	}
	all := s.Setting(settingHistory) == historyAll
	for u, since := range r.members {
		if all || since < k.pos {
			k.users = append(k.users, u)
		}
	}
	slices.Sort(k.users)
	return nil
}

// servesRoom reports whether a room is on a service of a domain that is served.
func (s *xmppServer) servesRoom(room quinta.RoomID) bool {
	_, domain, _ := strings.Cut(string(room), "@")
	return slices.ContainsFunc(s.domains, func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) })
}

// freshFor sees to it that the lists of the rooms of some keys are known.
func (c *call) freshFor(sql string, args ...any) error {
	var rooms []quinta.RoomID
	if err := c.View(c.ctx(), func(tx *db.Tx) error {
		rooms = nil
		for row, err := range tx.Query(sql, args...) {
			if err != nil {
				return err
			}
			var r quinta.RoomID
			if err := row.Scan(&r); err != nil {
				return err
			}
			if !slices.Contains(rooms, r) {
				rooms = append(rooms, r)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, r := range rooms {
		// Of one whose lists cannot be read now no key is given; it does not
		// keep the caller from the others.
		if err := c.freshRoom(c.ctx(), r); err != nil && len(rooms) == 1 {
			if we, ok := errors.AsType[*wire.Error](err); !ok || we.Code == wire.CodeUnavailable {
				return err
			}
		}
	}
	return nil
}

// freshForKeys is freshFor of ids of keys.
func (c *call) freshForKeys(ids ...string) error {
	marks := make([]string, len(ids))
	args := make([]any, len(ids))
	for i, id := range ids {
		marks[i], args[i] = "$"+strconv.Itoa(i+1), id
	}
	return c.freshFor(`SELECT c.first FROM xmpp_conversation c JOIN xmpp_key k ON k.conversation = c.id WHERE c.second = '' AND k.id IN (`+strings.Join(marks, ", ")+`)`, args...)
}

// errFrozen is the refusal of a room that is not fit for encryption.
func errFrozen(why string) error {
	return wire.NewError(http.StatusConflict, wire.CodeRoom, "the room is frozen: "+why)
}
