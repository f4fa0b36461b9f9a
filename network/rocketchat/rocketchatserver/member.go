package rocketchatserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *rcServer) memberCalls() {
	for _, kind := range []string{"groups", "channels"} {
		s.post(kind+".invite", (*call).invite)
		s.post(kind+".kick", (*call).kick)
		s.post(kind+".leave", (*call).leave)
		s.get(kind+".members", (*call).members)
	}
	s.post("channels.join", (*call).joinChannel)
	s.post("rooms.leave", (*call).leave)
	s.get("im.members", (*call).members)
	s.ddp("addUsersToRoom", (*call).addUsers)
}

// A target is a room and a user of it, as these calls name them.
type target struct {
	Room     quinta.RoomID `json:"roomId"`
	User     string        `json:"userId"`
	Username string        `json:"username"`
}

// add gives users a part in a room of which the caller is an owner.
func (c *call) add(tx *db.Tx, id quinta.RoomID, users ...person) (*roomRow, error) {
	r, s, err := c.mine(tx, id)
	if err != nil {
		return nil, err
	}
	if r.Type == typeDirect || r.Type == typePrivate && s.Role == "" {
		return nil, forbidden("only an owner of the room can add members")
	}
	for _, p := range users {
		if _, err := getSub(tx, id, p.ID); err == nil {
			continue
		}
		if err := c.seat(tx, r, p, ""); err != nil {
			return nil, err
		}
		if err := c.system(tx, r, c.me, rocketchat.TypeAdded, string(p.Name)); err != nil {
			return nil, err
		}
		if err := c.askKey(tx, r, p); err != nil {
			return nil, err
		}
	}
	if err := r.put(tx); err != nil {
		return nil, err
	}
	return r, c.roomChanged(tx, "updated", r)
}

func (c *call) invite() (any, error) {
	var q struct {
		target
		Users []string `json:"userIds"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if len(q.Users) > maxMembers {
		return nil, invalid("too many users")
	}
	var shown wire.Room
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		var users []person
		if q.User != "" || q.Username != "" {
			q.Users = append(q.Users, q.User)
		}
		for _, id := range q.Users {
			p, err := c.lookup(tx, id, q.Username)
			if err != nil {
				return err
			}
			users = append(users, p)
		}
		r, err := c.add(tx, q.Room, users...)
		if err != nil {
			return err
		}
		shown, err = r.shown(tx)
		return err
	})
	return answer{"group": shown, "channel": shown}, err
}

func (c *call) addUsers() (any, error) {
	var q struct {
		Room  quinta.RoomID `json:"rid"`
		Users []string      `json:"users"`
	}
	if err := c.param(0, &q); err != nil {
		return nil, err
	}
	if len(q.Users) > maxMembers {
		return nil, invalid("too many users")
	}
	return true, c.Update(c.ctx, func(tx *db.Tx) error {
		var users []person
		for _, name := range q.Users {
			p, err := c.lookup(tx, "", name)
			if err != nil {
				return err
			}
			users = append(users, p)
		}
		_, err := c.add(tx, q.Room, users...)
		return err
	})
}

// takeOut ends a user's part in a room and says so there.
func (s *rcServer) takeOut(tx *db.Tx, id quinta.RoomID, who, by person, kind string) error {
	r, err := getRoom(tx, id)
	if err != nil {
		return err
	}
	sub, err := getSub(tx, id, who.ID)
	if err != nil {
		return err
	}
	if err := s.system(tx, r, by, kind, string(who.Name)); err != nil {
		return err
	}
	if err := s.tell(tx, "removed", sub, r); err != nil {
		return err
	}
	if err := tx.Queue(`DELETE FROM rocketchat_sub WHERE room = $1 AND user_id = $2`, id, who.ID); err != nil {
		return err
	}
	if err := tx.Queue(`INSERT INTO rocketchat_gone (room, user_id, at) VALUES ($1, $2, $3) ON CONFLICT (user_id, room) DO UPDATE SET at = excluded.at`, id, who.ID, tx.Millis()); err != nil {
		return err
	}
	if err := r.put(tx); err != nil {
		return err
	}
	return s.roomChanged(tx, "updated", r)
}

func (c *call) kick() (any, error) {
	var q target
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		r, s, err := c.mine(tx, q.Room)
		if err != nil {
			return err
		}
		p, err := c.lookup(tx, q.User, q.Username)
		if err != nil {
			return err
		}
		if r.Type == typeDirect || s.Role == "" {
			return forbidden("only an owner of the room can remove members")
		}
		return c.takeOut(tx, q.Room, p, c.me, rocketchat.TypeRemoved)
	})
}

func (c *call) leave() (any, error) {
	var q target
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		r, s, err := c.mine(tx, q.Room)
		if err != nil {
			return err
		}
		if r.Type == typeDirect {
			return forbidden("a direct conversation cannot be left")
		}
		if s.Role == "owner" {
			// Another member becomes the owner, so that someone can replace the key.
			members, err := membersOf(tx, q.Room)
			if err != nil {
				return err
			}
			owners := 0
			var heir *subRow
			for _, m := range members {
				if m.User == c.me.ID {
					continue
				}
				if m.Role == "owner" {
					owners++
				} else if heir == nil {
					heir = m
				}
			}
			if owners == 0 && heir != nil {
				heir.Role = "owner"
				if err := heir.put(tx); err != nil {
					return err
				}
				if err := c.tell(tx, "updated", heir, r); err != nil {
					return err
				}
			}
		}
		return c.takeOut(tx, q.Room, c.me, c.me, rocketchat.TypeLeft)
	})
}

func (c *call) joinChannel() (any, error) {
	var q struct {
		Room quinta.RoomID `json:"roomId"`
		Name string        `json:"roomName"`
		Code string        `json:"joinCode"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var shown wire.Room
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		r, err := c.findRoom(tx, q.Room, q.Name)
		if err != nil || r.Type != typeChannel {
			if err == nil {
				err = errNoRoom
			}
			return err
		}
		if _, err := getSub(tx, r.ID, c.me.ID); err != nil {
			if err := c.seat(tx, r, c.me, ""); err != nil {
				return err
			}
			if err := c.system(tx, r, c.me, rocketchat.TypeJoined, string(c.me.Name)); err != nil {
				return err
			}
		}
		shown, err = r.shown(tx)
		return err
	})
	return answer{"channel": shown}, err
}

func (c *call) members() (any, error) {
	count, err := c.number("count", 50, maxMembers)
	if err != nil {
		return nil, err
	}
	offset, err := c.number("offset", 0, 1<<30)
	if err != nil {
		return nil, err
	}
	list := []wire.User{}
	total := 0
	err = c.View(c.ctx, func(tx *db.Tx) error {
		r, err := c.findRoom(tx, quinta.RoomID(c.query.Get("roomId")), c.query.Get("roomName"))
		if err != nil {
			return err
		}
		subs, err := membersOf(tx, r.ID)
		if err != nil {
			return err
		}
		total = len(subs)
		for _, m := range subs[min(int(offset), total):] {
			if int64(len(list)) >= count {
				break
			}
			p, err := getPerson(tx, m.User)
			if quinta.KindOf(err) == quinta.KindNotFound {
				continue
			}
			if err != nil {
				return err
			}
			u := p.shown()
			if m.Role != "" {
				u.Roles = []string{m.Role}
			}
			list = append(list, u)
		}
		return nil
	})
	return answer{"members": list, "count": len(list), "offset": offset, "total": total}, err
}
