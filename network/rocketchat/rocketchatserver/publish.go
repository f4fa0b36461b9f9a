package rocketchatserver

import (
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// publishCalls are what clients may publish themselves: that they write, and that
// they lack a key.
func (s *rcServer) publishCalls() {
	s.ddp("stream-notify-room", (*call).publishRoom)
	s.ddp("stream-notify-room-users", (*call).publishUsers)
}

// maxActivities bounds the words for what a user does.
const maxActivities = 10

// publishRoom tells the members of a room that the caller writes.
func (c *call) publishRoom() (any, error) {
	var key, name string
	if err := c.texts(&key, &name); err != nil {
		return nil, err
	}
	room, what, _ := strings.Cut(key, "/")
	if what != "user-activity" && what != "typing" {
		return nil, errStream
	}
	if name != string(c.me.Name) {
		return nil, errStream // for oneself alone
	}
	var arg any
	if what == "typing" {
		on := false
		if err := c.param(2, &on); err != nil {
			return nil, err
		}
		arg = on
	} else {
		activities := []string{}
		if err := c.param(2, &activities); err != nil {
			return nil, err
		}
		if len(activities) > maxActivities {
			return nil, invalid("too many activities")
		}
		for _, a := range activities {
			if len(a) > 64 {
				return nil, invalid("an activity must be one word")
			}
		}
		arg = activities
	}
	return nil, c.Update(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.mine(tx, quinta.RoomID(room)); err != nil {
			return errStream
		}
		return c.event(tx, scopeRoom(quinta.RoomID(room)), "stream-notify-room", key, c.me.Name, arg, answer{})
	})
}

// publishUsers tells every other member of a room that the caller lacks its key.
func (c *call) publishUsers() (any, error) {
	var key, rid, keyID string
	if err := c.texts(&key, &rid, &keyID); err != nil {
		return nil, err
	}
	room, what, _ := strings.Cut(key, "/")
	if what != "e2ekeyRequest" || rid != room || len(keyID) > 64 {
		return nil, errStream
	}
	return nil, c.Update(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.encryptedRoom(tx, quinta.RoomID(room)); err != nil {
			return errStream
		}
		members, err := membersOf(tx, quinta.RoomID(room))
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.User == c.me.ID {
				continue
			}
			if err := c.event(tx, scopeUser(m.User), "stream-notify-user", m.User+"/e2ekeyRequest", rid, keyID); err != nil {
				return err
			}
		}
		return nil
	})
}
