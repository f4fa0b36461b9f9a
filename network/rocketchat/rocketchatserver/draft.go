package rocketchatserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The names of the draft of the specification, which no release has: thin ways to
// the calls of today.
func (s *rcServer) draftCalls() {
	s.post("e2e.addKeyToChain", func(c *call) (any, error) {
		var q struct {
			Public  string `json:"RSAPubKey"`
			Private string `json:"RSAEPrivKey"`
		}
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		return answer{}, c.setPair(pairRequest{Public: q.Public, Private: q.Private})
	})
	s.ddp("addKeyToChain", func(c *call) (any, error) {
		var q struct {
			Public  string `json:"RSA-PubKey"`
			Private string `json:"RSA-EPrivKey"`
		}
		if err := c.param(0, &q); err != nil {
			return nil, err
		}
		return nil, c.setPair(pairRequest{Public: q.Public, Private: q.Private})
	})
	s.ddp("fetchMyKeys", func(c *call) (any, error) {
		if c.me.Public == "" {
			return answer{}, nil
		}
		return answer{"RSA-PubKey": c.me.Public, "RSA-EPrivKey": c.me.Private}, nil
	})
	s.get("e2e.fetchKeychain", func(c *call) (any, error) { return c.keychain(c.query.Get("uid")) })
	s.ddp("fetchKeychain", func(c *call) (any, error) {
		var uid string
		if err := c.texts(&uid); err != nil {
			return nil, err
		}
		return c.keychain(uid)
	})
	s.get("e2e.fetchGroupE2EKey", func(c *call) (any, error) {
		key, err := c.ownKey(quinta.RoomID(c.query.Get("rid")))
		return answer{"key": key}, err
	})
	s.ddp("fetchGroupE2EKey", func(c *call) (any, error) {
		var rid string
		if err := c.texts(&rid); err != nil {
			return nil, err
		}
		return c.ownKey(quinta.RoomID(rid))
	})
	s.post("e2e.updateGroupE2EKey", func(c *call) (any, error) {
		var q struct {
			User string        `json:"uid"`
			Room quinta.RoomID `json:"rid"`
			Key  string        `json:"key"`
		}
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		sub, err := c.updateShown(q.Room, q.User, q.Key)
		return answer{"subscription": sub}, err
	})
	s.ddp("updateGroupE2EKey", func(c *call) (any, error) {
		var rid, uid, key string
		if err := c.texts(&rid, &uid, &key); err != nil {
			return nil, err
		}
		return c.updateShown(quinta.RoomID(rid), uid, key)
	})
	empty := func(c *call) (any, error) { return answer{}, c.Update(c.ctx, c.dropPair) }
	s.post("e2e.emptyKeychain", empty)
	s.ddp("emptyKeychain", empty)
	s.ddp("getUsersOfRoom", (*call).usersOfRoom)
}

// keychain gives a user's public key to everyone, and the sealed private one to
// its owner alone.
func (c *call) keychain(uid string) (any, error) {
	a := answer{}
	if uid == c.me.ID && c.me.Public != "" {
		return answer{"RSA-PubKey": c.me.Public, "RSA-EPrivKey": c.me.Private}, nil
	}
	return a, c.View(c.ctx, func(tx *db.Tx) error {
		p, err := getPerson(tx, uid)
		if err == nil && p.Public != "" {
			a["RSA-PubKey"] = p.Public
		}
		return err
	})
}

// ownKey gives the caller's wrapped key of a room, else the suggested one, else
// nothing.
func (c *call) ownKey(id quinta.RoomID) (any, error) {
	var key any
	err := c.View(c.ctx, func(tx *db.Tx) error {
		_, s, err := c.mine(tx, id)
		switch {
		case err != nil:
			return err
		case s.Own != "":
			key = s.Own
		case s.Suggested != "":
			key = s.Suggested
		}
		return nil
	})
	return key, err
}

// updateShown is updateKey with the subscription that it changed. The keys of
// another user's subscription are not shown, but for the one that was given.
func (c *call) updateShown(id quinta.RoomID, user, key string) (shown wire.Subscription, err error) {
	if _, err := c.updateKey(id, user, key, true); err != nil {
		return shown, err
	}
	return shown, c.View(c.ctx, func(tx *db.Tx) error {
		r, _, err := c.mine(tx, id)
		if err != nil {
			return err
		}
		s, err := getSub(tx, id, user)
		if err != nil {
			return err
		}
		p, err := getPerson(tx, user)
		if err != nil {
			return err
		}
		if user != c.me.ID {
			s = &subRow{Room: s.Room, User: s.User, Role: s.Role, Created: s.Created, Updated: s.Updated, Suggested: key}
		}
		shown = s.shown(r, p)
		return nil
	})
}

func (c *call) usersOfRoom() (any, error) {
	var rid string
	if err := c.texts(&rid); err != nil {
		return nil, err
	}
	records := []answer{}
	err := c.View(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.mine(tx, quinta.RoomID(rid)); err != nil {
			return err
		}
		members, err := membersOf(tx, quinta.RoomID(rid))
		if err != nil {
			return err
		}
		for _, m := range members {
			p, err := getPerson(tx, m.User)
			if quinta.KindOf(err) == quinta.KindNotFound {
				continue
			}
			if err != nil {
				return err
			}
			records = append(records, answer{"_id": p.ID, "username": p.Name})
		}
		return nil
	})
	return answer{"total": len(records), "records": records}, err
}
