package rocketchatserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The bounds of a call about room keys.
const (
	maxKeyRooms = 100
	maxOldKeys  = 10
	maxProvided = 1000 // wrapped keys in one call
)

func (s *rcServer) roomKeyCalls() {
	s.get("e2e.getUsersOfRoomWithoutKey", func(c *call) (any, error) { return c.usersWithoutKey(quinta.RoomID(c.query.Get("rid"))) })
	s.ddp("e2e.getUsersOfRoomWithoutKey", func(c *call) (any, error) {
		var rid string
		if err := c.texts(&rid); err != nil {
			return nil, err
		}
		return c.usersWithoutKey(quinta.RoomID(rid))
	})
	s.post("e2e.setRoomKeyID", func(c *call) (any, error) {
		var q struct {
			Room  quinta.RoomID `json:"rid"`
			KeyID string        `json:"keyID"`
		}
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		return answer{}, c.setRoomKeyID(q.Room, q.KeyID)
	})
	s.ddp("e2e.setRoomKeyID", func(c *call) (any, error) {
		var rid, id string
		if err := c.texts(&rid, &id); err != nil {
			return nil, err
		}
		return nil, c.setRoomKeyID(quinta.RoomID(rid), id)
	})
	s.post("e2e.updateGroupKey", func(c *call) (any, error) {
		var q struct {
			User string        `json:"uid"`
			Room quinta.RoomID `json:"rid"`
			Key  string        `json:"key"`
		}
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		_, err := c.updateKey(q.Room, q.User, q.Key, false)
		return answer{}, err
	})
	s.ddp("e2e.updateGroupKey", func(c *call) (any, error) {
		var rid, uid, key string
		if err := c.texts(&rid, &uid, &key); err != nil {
			return nil, err
		}
		_, err := c.updateKey(quinta.RoomID(rid), uid, key, false)
		return nil, err
	})
	for name, accept := range map[string]bool{"e2e.acceptSuggestedGroupKey": true, "e2e.rejectSuggestedGroupKey": false} {
		s.post(name, func(c *call) (any, error) {
			var q struct {
				Room quinta.RoomID `json:"rid"`
			}
			if err := c.decode(&q); err != nil {
				return nil, err
			}
			return answer{}, c.judge(q.Room, accept)
		})
		s.ddp(name, func(c *call) (any, error) {
			var rid string
			if err := c.texts(&rid); err != nil {
				return nil, err
			}
			return nil, c.judge(quinta.RoomID(rid), accept)
		})
	}
	s.get("e2e.fetchUsersWaitingForGroupKey", (*call).waiting)
	s.post("e2e.provideUsersSuggestedGroupKeys", (*call).provide)
}

func (c *call) usersWithoutKey(id quinta.RoomID) (any, error) {
	var list []wire.Keyless
	err := c.View(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.encryptedRoom(tx, id); err != nil {
			return err
		}
		var err error
		list, err = c.keyless(tx, id)
		return err
	})
	return answer{"users": list}, err
}

// setRoomKeyID says which key a room has, once. Of two who do it at the same time
// one is refused, and adopts the other's key.
func (c *call) setRoomKeyID(id quinta.RoomID, keyID string) error {
	if rocketchat.CheckKeyID(keyID) != nil {
		return invalid("keyID is not the id of a key")
	}
	return c.Update(c.ctx, func(tx *db.Tx) error {
		r, _, err := c.encryptedRoom(tx, id)
		if err != nil {
			return err
		}
		if r.KeyID != "" {
			return refused(rocketchat.CodeRoomKeyExists, "the room already has a key")
		}
		return c.nameKey(tx, r, keyID)
	})
}

// nameKey gives a room its first key; the other members wait for it.
func (c *call) nameKey(tx *db.Tx, r *roomRow, keyID string) error {
	p, err := getPerson(tx, c.me.ID)
	if err != nil {
		return err
	}
	if p.Public == "" {
		return forbidden("set your own keys first")
	}
	r.KeyID = keyID
	if err := r.put(tx); err != nil {
		return err
	}
	members, err := membersOf(tx, r.ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.User != c.me.ID {
			if err := c.mustWait(tx, r, m); err != nil {
				return err
			}
		}
	}
	return c.roomChanged(tx, "updated", r)
}

// mustWait puts a member with a public key into the waiting queue.
func (c *call) mustWait(tx *db.Tx, r *roomRow, m *subRow) error {
	p, err := getPerson(tx, m.User)
	if quinta.KindOf(err) == quinta.KindNotFound || err == nil && p.Public == "" {
		return nil
	}
	if err != nil {
		return err
	}
	m.Waits = tx.Millis()
	return m.put(tx)
}

// updateKey keeps a wrapped room key: one's own counts at once, that of another
// member is a suggestion. A user who gets their own leaves the waiting queue. The
// first key that comes under the draft's name gives the room its key, since the draft
// has no call of its own for that. One of another key than the room's is refused: a
// call that comes late must not put a replaced key in the place of the present one.
func (c *call) updateKey(id quinta.RoomID, user, key string, draft bool) (sub *subRow, err error) {
	keyID, _, err := rocketchat.SplitWrapped(key)
	if err != nil {
		return nil, invalid("key is not a wrapped room key")
	}
	return sub, c.Update(c.ctx, func(tx *db.Tx) error {
		r, _, err := c.encryptedRoom(tx, id)
		if err != nil {
			return err
		}
		if draft && r.KeyID == "" {
			if err := c.nameKey(tx, r, keyID); err != nil {
				return err
			}
		}
		if r.KeyID != keyID {
			return refused(rocketchat.CodeRoomKeyExists, "the room has another key")
		}
		if sub, err = getSub(tx, id, user); err != nil {
			return err
		}
		if user == c.me.ID {
			sub.Own, sub.Suggested, sub.Waits = key, "", 0
		} else {
			sub.Suggested = key
		}
		if err := sub.put(tx); err != nil {
			return err
		}
		return c.tell(tx, "updated", sub, r)
	})
}

// judge takes a suggested key as the caller's own, or throws it away.
func (c *call) judge(id quinta.RoomID, accept bool) error {
	return c.Update(c.ctx, func(tx *db.Tx) error {
		r, s, err := c.mine(tx, id)
		if quinta.KindOf(err) == quinta.KindNotFound {
			return refused(wire.CodeNoSubscription, "you are not in this room")
		}
		if err != nil {
			return err
		}
		if s.Suggested == "" {
			return refused(rocketchat.CodeNoSuggestion, "no key was suggested")
		}
		if accept {
			s.Own, s.Waits = s.Suggested, 0
			if len(s.SuggestedOld) > 0 {
				s.Old = s.SuggestedOld
			}
		} else {
			s.Waits = tx.Millis()
		}
		s.Suggested, s.SuggestedOld = "", nil
		if err := s.put(tx); err != nil {
			return err
		}
		if err := c.tell(tx, "updated", s, r); err != nil {
			return err
		}
		if accept {
			return nil
		}
		p, err := getPerson(tx, c.me.ID)
		if err != nil {
			return err
		}
		return c.askKey(tx, r, p)
	})
}

// waiting answers who waits for keys, in those of the rooms that the caller is in
// and has the key of.
func (c *call) waiting() (any, error) {
	ids := c.list("roomIds")
	if len(ids) > maxKeyRooms {
		return nil, invalid("at most 100 rooms at once")
	}
	out := map[string][]answer{}
	err := c.View(c.ctx, func(tx *db.Tx) error {
		for _, id := range ids {
			r, _, err := c.mine(tx, quinta.RoomID(id))
			if quinta.KindOf(err) == quinta.KindNotFound || err == nil && !r.Encrypted {
				continue
			}
			if err != nil {
				return err
			}
			for row, err := range tx.Query(`SELECT u.id, u.public FROM rocketchat_sub s JOIN rocketchat_user u ON u.id = s.user_id
				WHERE s.room = $1 AND s.waits > 0 AND s.suggested = '' AND u.public <> '' AND NOT u.closed AND u.id <> $2 ORDER BY s.waits, u.id`, id, c.me.ID) {
				if err != nil {
					return err
				}
				var user, public string
				if err := row.Scan(&user, &public); err != nil {
					return err
				}
				out[id] = append(out[id], answer{"_id": user, "public_key": public})
			}
		}
		return nil
	})
	return answer{"usersWaitingForE2EKeys": out}, err
}

// provide keeps keys that a member offers to those who wait. Rooms, users and keys
// that do not fit, such as one that was replaced in the meantime, are ignored.
func (c *call) provide() (any, error) {
	var q struct {
		Keys map[quinta.RoomID][]rocketchat.Provided `json:"usersSuggestedGroupKeys"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	n := 0
	for _, list := range q.Keys {
		n += len(list)
		for _, p := range list {
			if _, _, err := rocketchat.SplitWrapped(p.Key); err != nil || len(p.Old) > maxOldKeys {
				return nil, invalid("a key is not a wrapped room key, or there are too many old ones")
			}
			for _, o := range p.Old {
				if _, _, err := rocketchat.SplitWrapped(o.Key); err != nil || rocketchat.CheckKeyID(o.KeyID) != nil {
					return nil, invalid("an old key is not a wrapped room key")
				}
			}
		}
	}
	if len(q.Keys) > maxKeyRooms || n > maxProvided {
		return nil, invalid("at most 100 rooms and 1000 keys at once")
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		for id, list := range q.Keys {
			r, own, err := c.mine(tx, id)
			if quinta.KindOf(err) == quinta.KindNotFound || err == nil && (!r.Encrypted || own.Own == "") {
				continue
			}
			if err != nil {
				return err
			}
			for _, p := range list {
				if keyID, _, err := rocketchat.SplitWrapped(p.Key); err != nil || keyID != r.KeyID {
					continue
				}
				sub, err := getSub(tx, id, p.User)
				if quinta.KindOf(err) == quinta.KindNotFound || err == nil && (sub.User == c.me.ID || sub.Own != "") {
					continue
				}
				if err != nil {
					return err
				}
				sub.Suggested, sub.SuggestedOld, sub.Waits = p.Key, p.Old, 0
				if err := sub.put(tx); err != nil {
					return err
				}
				if err := c.tell(tx, "updated", sub, r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
