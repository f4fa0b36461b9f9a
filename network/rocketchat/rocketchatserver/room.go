package rocketchatserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The types of room.
const (
	typeDirect  = "d"
	typePrivate = "p"
	typeChannel = "c"
)

// A roomRow is a room as it is stored.
type roomRow struct {
	ID                         quinta.RoomID
	Type, Name, Topic, Creator string
	Encrypted                  bool
	KeyID                      string
	Created, Updated, Last     int64
	Messages, ResetAt          int64
}

// A subRow is one user's part in a room as it is stored.
type subRow struct {
	Room                    quinta.RoomID
	User, Role              string
	Own, Suggested          string
	Old, SuggestedOld       []rocketchat.OldKey
	Unread, Seen            int64
	Created, Updated, Waits int64
}

const roomColumns = `id, type, name, topic, creator, encrypted, key_id, created, updated, last, messages, reset_at`

var errNoRoom = &quinta.Error{Kind: quinta.KindNotFound, Op: "room", Err: wire.NewError(http.StatusBadRequest, rocketchat.CodeNoRoom, "there is no such room, or you are not in it")}

func getRoom(tx *db.Tx, id quinta.RoomID) (*roomRow, error) {
	r := &roomRow{}
	err := tx.Row(`SELECT `+roomColumns+` FROM rocketchat_room WHERE id = $1`, id).Scan(
		&r.ID, &r.Type, &r.Name, &r.Topic, &r.Creator, &r.Encrypted, &r.KeyID, &r.Created, &r.Updated, &r.Last, &r.Messages, &r.ResetAt)
	if errors.Is(err, db.ErrNoRows) {
		return nil, errNoRoom
	}
	return r, err
}

func (r *roomRow) put(tx *db.Tx) error {
	r.Updated = tx.Millis()
	return tx.Queue(`INSERT INTO rocketchat_room (`+roomColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, topic = excluded.topic, encrypted = excluded.encrypted, key_id = excluded.key_id,
		updated = excluded.updated, last = excluded.last, messages = excluded.messages, reset_at = excluded.reset_at`,
		r.ID, r.Type, r.Name, r.Topic, r.Creator, r.Encrypted, r.KeyID, r.Created, r.Updated, r.Last, r.Messages, r.ResetAt)
}

const subColumns = `room, user_id, role, own_key, suggested, old_keys, suggested_old, unread, seen, created, updated, waits`

func scanSub(scan func(...any) error) (*subRow, error) {
	s := &subRow{}
	var old, suggested []byte
	if err := scan(&s.Room, &s.User, &s.Role, &s.Own, &s.Suggested, &old, &suggested, &s.Unread, &s.Seen, &s.Created, &s.Updated, &s.Waits); err != nil {
		return nil, err
	}
	for raw, to := range map[*[]byte]*[]rocketchat.OldKey{&old: &s.Old, &suggested: &s.SuggestedOld} {
		if len(*raw) > 0 {
			if err := json.Unmarshal(*raw, to); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func getSub(tx *db.Tx, room quinta.RoomID, user string) (*subRow, error) {
	s, err := scanSub(tx.Row(`SELECT `+subColumns+` FROM rocketchat_sub WHERE room = $1 AND user_id = $2`, room, user).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, errNoRoom
	}
	return s, err
}

func (s *subRow) put(tx *db.Tx) error {
	s.Updated = tx.Millis()
	old, err := json.Marshal(s.Old)
	if err != nil {
		return err
	}
	suggested, err := json.Marshal(s.SuggestedOld)
	if err != nil {
		return err
	}
	return tx.Queue(`INSERT INTO rocketchat_sub (`+subColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (room, user_id) DO UPDATE SET role = excluded.role, own_key = excluded.own_key, suggested = excluded.suggested, old_keys = excluded.old_keys,
		suggested_old = excluded.suggested_old, unread = excluded.unread, seen = excluded.seen, updated = excluded.updated, waits = excluded.waits`,
		s.Room, s.User, s.Role, s.Own, s.Suggested, old, suggested, s.Unread, s.Seen, s.Created, s.Updated, s.Waits)
}

// membersOf returns the parts of all members of a room, in the order in which they
// came.
func membersOf(tx *db.Tx, room quinta.RoomID) ([]*subRow, error) {
	var out []*subRow
	for row, err := range tx.Query(`SELECT `+subColumns+` FROM rocketchat_sub WHERE room = $1 ORDER BY created, user_id`, room) {
		if err != nil {
			return nil, err
		}
		s, err := scanSub(row.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// roomsOf returns the rooms that a user is in.
func roomsOf(tx *db.Tx, user string) ([]quinta.RoomID, error) {
	var out []quinta.RoomID
	for row, err := range tx.Query(`SELECT room FROM rocketchat_sub WHERE user_id = $1 ORDER BY room`, user) {
		if err != nil {
			return nil, err
		}
		var id quinta.RoomID
		if err := row.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// mine returns a room and the caller's part in it; whoever is not in it does not
// learn whether there is one.
func (c *call) mine(tx *db.Tx, id quinta.RoomID) (*roomRow, *subRow, error) {
	s, err := getSub(tx, id, c.me.ID)
	if err != nil {
		return nil, nil, err
	}
	r, err := getRoom(tx, id)
	return r, s, err
}

// shown is a room as its members see it.
func (r *roomRow) shown(tx *db.Tx) (wire.Room, error) {
	out := wire.Room{ID: r.ID, Type: r.Type, Name: r.Name, FName: r.Name, Topic: r.Topic, Messages: r.Messages, Encrypted: r.Encrypted, KeyID: r.KeyID,
		Last: rocketchat.Date(r.Last), TS: rocketchat.Date(r.Created), Updated: rocketchat.Date(r.Updated)}
	creator, err := getPerson(tx, r.Creator)
	if err == nil {
		out.Creator = creator.author()
	} else if quinta.KindOf(err) != quinta.KindNotFound {
		return out, err
	}
	members, err := membersOf(tx, r.ID)
	if err != nil {
		return out, err
	}
	out.Users = int64(len(members))
	waiting := slices.Clone(members)
	slices.SortStableFunc(waiting, func(a, b *subRow) int { return int(min(max(a.Waits-b.Waits, -1), 1)) })
	for _, m := range waiting {
		if m.Waits > 0 {
			out.Waiting = append(out.Waiting, wire.WaitingUser{User: m.User, TS: rocketchat.Date(m.Waits)})
		}
	}
	if r.Type == typeDirect {
		for _, m := range members {
			p, err := getPerson(tx, m.User)
			if quinta.KindOf(err) == quinta.KindNotFound {
				continue
			}
			if err != nil {
				return out, err
			}
			out.UserIDs, out.Usernames = append(out.UserIDs, p.ID), append(out.Usernames, string(p.Name))
		}
	}
	return out, nil
}

// shown is a user's own part in a room. A direct conversation is called by the
// other's name, which r.Name holds then.
func (s *subRow) shown(r *roomRow, p person) wire.Subscription {
	out := wire.Subscription{ID: string(s.Room) + s.User, Room: s.Room, Name: r.Name, FName: r.Name, Type: r.Type, User: p.author(), Open: true, Alert: s.Unread > 0, Unread: s.Unread,
		TS: rocketchat.Date(s.Created), Seen: rocketchat.Date(s.Seen), Updated: rocketchat.Date(max(s.Updated, r.Updated)), Encrypted: r.Encrypted,
		E2EKey: s.Own, Suggested: s.Suggested, Old: s.Old, SuggestedOld: s.SuggestedOld}
	if s.Role != "" {
		out.Roles = []string{s.Role}
	}
	return out
}

// named returns the room with the name that p sees it under.
func named(tx *db.Tx, r *roomRow, p person) (*roomRow, error) {
	if r.Type != typeDirect {
		return r, nil
	}
	members, err := membersOf(tx, r.ID)
	if err != nil {
		return nil, err
	}
	out := *r
	out.Name = string(p.Name)
	for _, m := range members {
		if m.User == p.ID {
			continue
		}
		other, err := getPerson(tx, m.User)
		if quinta.KindOf(err) == quinta.KindNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Name = string(other.Name)
	}
	return &out, nil
}

// tell tells a user that their part in a room is another.
func (s *rcServer) tell(tx *db.Tx, action string, sub *subRow, r *roomRow) error {
	p, err := getPerson(tx, sub.User)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	seen, err := named(tx, r, p)
	if err != nil {
		return err
	}
	return s.subChanged(tx, action, sub, seen, p)
}
