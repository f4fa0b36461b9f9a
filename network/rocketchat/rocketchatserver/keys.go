package rocketchatserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *rcServer) keyCalls() {
	fetch := func(c *call) (any, error) {
		a := answer{}
		if c.me.Public != "" {
			a["public_key"], a["private_key"] = c.me.Public, c.me.Private
		}
		return a, nil
	}
	s.get("e2e.fetchMyKeys", func(c *call) (any, error) {
		// The draft of the specification names the two differently: both are there.
		a, err := fetch(c)
		if m := a.(answer); c.me.Public != "" {
			m["RSA-PubKey"], m["RSA-EPrivKey"] = c.me.Public, c.me.Private
		}
		return a, err
	})
	s.ddp("e2e.fetchMyKeys", fetch)
	s.post("e2e.setUserPublicAndPrivateKeys", func(c *call) (any, error) {
		var q pairRequest
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		return answer{}, c.setPair(q)
	})
	s.ddp("e2e.setUserPublicAndPrivateKeys", func(c *call) (any, error) {
		var q pairRequest
		if err := c.param(0, &q); err != nil {
			return nil, err
		}
		return nil, c.setPair(q)
	})
	s.post("e2e.requestSubscriptionKeys", func(c *call) (any, error) { return answer{}, c.requestKeys() })
	s.ddp("e2e.requestSubscriptionKeys", func(c *call) (any, error) { return true, c.requestKeys() })
	s.post("users.resetE2EKey", (*call).resetPair)
}

type pairRequest struct {
	Public  string `json:"public_key"`
	Private string `json:"private_key"`
	Force   bool   `json:"force"`
}

// setPair keeps a user's public key and their sealed private one. The server
// checks their shapes and cannot open them.
func (c *call) setPair(q pairRequest) error {
	if _, err := rocketchat.ParsePublicKey(q.Public); err != nil {
		return invalid("public_key is not an RSA-OAEP-256 key of 2048 bits")
	}
	if err := rocketchat.CheckKeyBlob(q.Private); err != nil {
		return invalid("private_key is not a sealed private key")
	}
	return c.Update(c.ctx, func(tx *db.Tx) error {
		p, err := getPerson(tx, c.me.ID)
		if err != nil {
			return err
		}
		if p.Public != "" && !q.Force {
			return refused(rocketchat.CodeKeysSet, "the keys are already set")
		}
		tx.Count(db.UserOf(name, p.user()), db.ClassData, int64(len(q.Public)+len(q.Private))-p.keyBytes())
		if err := tx.Queue(`UPDATE rocketchat_user SET public = $2, private = $3 WHERE id = $1`, p.ID, q.Public, q.Private); err != nil {
			return err
		}
		p.Public = q.Public
		return c.waitEverywhere(tx, p)
	})
}

// waitEverywhere puts a user with keys into the waiting queue of each encrypted
// room whose key they lack.
func (c *call) waitEverywhere(tx *db.Tx, p person) error {
	ids, err := roomsOf(tx, p.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := getRoom(tx, id)
		if err != nil {
			return err
		}
		if !r.Encrypted || r.KeyID == "" {
			continue
		}
		s, err := getSub(tx, id, p.ID)
		if err != nil {
			return err
		}
		if s.Own != "" || s.Suggested != "" {
			continue
		}
		if s.Waits == 0 {
			s.Waits = tx.Millis()
			if err := s.put(tx); err != nil {
				return err
			}
		}
		if err := c.askKey(tx, r, p); err != nil {
			return err
		}
	}
	return nil
}

// askKey tells those who are in a room that a member waits for its key.
func (c *call) askKey(tx *db.Tx, r *roomRow, p person) error {
	if !r.Encrypted || r.KeyID == "" || p.Public == "" {
		return nil
	}
	if err := c.boundWaiting(tx, r.ID); err != nil {
		return err
	}
	return c.event(tx, scopeRoom(r.ID), "stream-notify-room", string(r.ID)+"/e2e.keyRequest", r.KeyID)
}

// maxWaiting bounds the waiting queue of a room: the newest stay in it.
const maxWaiting = 50

func (c *call) boundWaiting(tx *db.Tx, id quinta.RoomID) error {
	return tx.Queue(`UPDATE rocketchat_sub SET waits = 0 WHERE room = $1 AND waits > 0 AND user_id NOT IN
		(SELECT user_id FROM rocketchat_sub WHERE room = $1 AND waits > 0 ORDER BY waits DESC, user_id LIMIT $2)`, id, maxWaiting)
}

func (c *call) requestKeys() error {
	return c.Update(c.ctx, func(tx *db.Tx) error {
		p, err := getPerson(tx, c.me.ID)
		if err != nil || p.Public == "" {
			return err
		}
		return c.waitEverywhere(tx, p)
	})
}

// resetPair removes the caller's key pair and all room keys that were wrapped for
// it, and ends all of their logins. It asks for the password again.
func (c *call) resetPair() (any, error) {
	var q struct {
		User     string `json:"userId"`
		Username string `json:"username"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.User != "" && q.User != c.me.ID || q.Username != "" && q.Username != string(c.me.Name) {
		return nil, forbidden("users cannot reset the keys of others on this server")
	}
	if err := c.secondFactor(); err != nil {
		return nil, err
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		if err := c.dropPair(tx); err != nil {
			return err
		}
		return c.logOutAll(tx, c.me, "")
	})
}

// dropPair removes a user's key pair with what is wrapped for it.
func (c *call) dropPair(tx *db.Tx) error {
	p, err := getPerson(tx, c.me.ID)
	if err != nil {
		return err
	}
	tx.Count(db.UserOf(name, p.user()), db.ClassData, -p.keyBytes())
	if err := tx.Queue(`UPDATE rocketchat_user SET public = '', private = '' WHERE id = $1`, c.me.ID); err != nil {
		return err
	}
	return tx.Queue(`UPDATE rocketchat_sub SET own_key = '', suggested = '', waits = 0, updated = $2 WHERE user_id = $1`, c.me.ID, tx.Millis())
}

// encryptedRoom returns a room of the caller's that is encrypted.
func (c *call) encryptedRoom(tx *db.Tx, id quinta.RoomID) (*roomRow, *subRow, error) {
	r, s, err := c.mine(tx, id)
	if err == nil && !r.Encrypted {
		err = refused(rocketchat.CodeNoRoom, "the room is not encrypted")
	}
	return r, s, err
}

// keyless returns the members who have a public key and no room key.
func (c *call) keyless(tx *db.Tx, id quinta.RoomID) ([]wire.Keyless, error) {
	list := []wire.Keyless{}
	for row, err := range tx.Query(`SELECT u.id, u.public FROM rocketchat_sub s JOIN rocketchat_user u ON u.id = s.user_id
		WHERE s.room = $1 AND s.own_key = '' AND s.suggested = '' AND u.public <> '' AND NOT u.closed ORDER BY s.created, u.id`, id) {
		if err != nil {
			return nil, err
		}
		var k wire.Keyless
		if err := row.Scan(&k.ID, &k.E2E.Public); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}
