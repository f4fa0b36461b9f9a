package rocketchatserver

import (
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/server/db"
)

// resetLock is how long after one reset another one is refused.
const resetLock = 10 * time.Second

func (s *rcServer) resetCalls() {
	s.post("e2e.resetRoomKey", (*call).resetRoomKey)
}

// resetRoomKey puts a new key in the place of a room's. What was wrapped of the old
// one is kept for its members, and all but the caller wait for the new one.
func (c *call) resetRoomKey() (any, error) {
	var q struct {
		Room  quinta.RoomID `json:"rid"`
		Key   string        `json:"e2eKey"`
		KeyID string        `json:"e2eKeyId"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if id, _, err := rocketchat.SplitWrapped(q.Key); err != nil || id != q.KeyID {
		return nil, invalid("e2eKey is not a wrapped room key with that id")
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		r, own, err := c.mine(tx, q.Room)
		if err != nil {
			return err
		}
		p, err := getPerson(tx, c.me.ID)
		if err != nil {
			return err
		}
		if !r.Encrypted || p.Public == "" || !maySettings(r, own) {
			return forbidden("only an owner who has keys can replace the key of an encrypted room")
		}
		if r.KeyID == q.KeyID {
			return nil // the answer to the first one was lost
		}
		if now := tx.Millis(); now < r.ResetAt+resetLock.Milliseconds() && now >= r.ResetAt {
			return refused(rocketchat.CodeResetRunning, "another reset of this room is in progress")
		}
		return c.applyReset(tx, r, q.Key, q.KeyID)
	})
}

func (c *call) applyReset(tx *db.Tx, r *roomRow, key, keyID string) error {
	members, err := membersOf(tx, r.ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Own != "" {
			m.Old = append([]rocketchat.OldKey{{KeyID: r.KeyID, TS: rocketchat.Date(tx.Millis()), Key: m.Own}}, m.Old...)
			m.Old = m.Old[:min(len(m.Old), maxOldKeys)]
		}
		m.Own, m.Suggested, m.SuggestedOld, m.Waits = "", "", nil, 0
		if m.User == c.me.ID {
			m.Own = key
			err = m.put(tx)
		} else if err = c.mustWait(tx, r, m); err == nil && m.Waits == 0 {
			err = m.put(tx)
		}
		if err != nil {
			return err
		}
	}
	r.KeyID, r.ResetAt = keyID, tx.Millis()
	if err := r.put(tx); err != nil {
		return err
	}
	for _, m := range members {
		if err := c.tell(tx, "updated", m, r); err != nil {
			return err
		}
	}
	return c.roomChanged(tx, "updated", r)
}
