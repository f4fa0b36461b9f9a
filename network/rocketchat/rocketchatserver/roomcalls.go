package rocketchatserver

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The bounds of rooms.
const (
	maxMembers = 1000
	maxRooms   = 2000 // that one user is in
	maxTopic   = 1024
)

var nameForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$`)

func (s *rcServer) roomCalls() {
	for _, n := range []string{"im.create", "dm.create"} {
		s.post(n, (*call).postDirect)
	}
	s.post("groups.create", func(c *call) (any, error) { return c.postGroup(typePrivate, "group") })
	s.post("channels.create", func(c *call) (any, error) { return c.postGroup(typeChannel, "channel") })
	s.post("groups.setEncrypted", (*call).setEncrypted)
	s.post("rooms.saveRoomSettings", (*call).saveSettings)
	s.get("rooms.get", (*call).getRooms)
	s.get("subscriptions.get", (*call).getSubs)
	s.get("subscriptions.getOne", (*call).getSub)
	for _, n := range []string{"rooms.info", "groups.info", "channels.info"} {
		s.get(n, (*call).roomInfo)
	}
	s.ddp("getRoomByTypeAndName", (*call).byTypeAndName)
}

// postDirect opens the direct conversation, which is made once.
func (c *call) postDirect() (any, error) {
	var q struct {
		Username    string `json:"username"`
		Usernames   string `json:"usernames"`
		ExcludeSelf bool   `json:"excludeSelf"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Username == "" {
		q.Username = q.Usernames
	}
	if strings.Contains(q.Username, ",") {
		return nil, invalid("on this server, a direct conversation has two people: create a group instead")
	}
	var shown wire.Room
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		other, err := c.lookup(tx, "", q.Username)
		if err != nil {
			return err
		}
		ids := []string{c.me.ID, other.ID}
		slices.Sort(ids)
		id := quinta.RoomID(strings.Join(slices.Compact(ids), ""))
		r, err := getRoom(tx, id)
		if errors.Is(err, errNoRoom) {
			r = &roomRow{ID: id, Type: typeDirect, Creator: c.me.ID, Encrypted: true, Created: tx.Millis(), Last: tx.Millis()}
			err = c.makeRoomOf(tx, r, []person{c.me, other})
		}
		if err != nil {
			return err
		}
		shown, err = r.shown(tx)
		return err
	})
	return answer{"room": answer{"_id": shown.ID, "rid": shown.ID, "t": shown.Type, "usernames": shown.Usernames}}, err
}

// makeRoomOf stores a new room with its members, the creator first.
func (s *rcServer) makeRoomOf(tx *db.Tx, r *roomRow, members []person) error {
	if err := r.put(tx); err != nil {
		return err
	}
	for i, p := range members {
		if i > 0 && p.ID == members[0].ID {
			continue
		}
		role := ""
		if i == 0 && r.Type != typeDirect {
			role = "owner"
		}
		if err := s.seat(tx, r, p, role); err != nil {
			return err
		}
	}
	return s.roomChanged(tx, "inserted", r)
}

// seat gives a user a part in a room. One who can take a key waits for it.
func (s *rcServer) seat(tx *db.Tx, r *roomRow, p person, role string) error {
	var n, members int64
	if err := tx.Row(`SELECT COUNT(*) FROM rocketchat_sub WHERE user_id = $1`, p.ID).Scan(&n); err != nil {
		return err
	}
	if err := tx.Row(`SELECT COUNT(*) FROM rocketchat_sub WHERE room = $1`, r.ID).Scan(&members); err != nil {
		return err
	}
	if n >= maxRooms || members >= maxMembers {
		return quinta.E(quinta.KindLimited, "room", "the user is in too many rooms, or the room has too many members")
	}
	sub := &subRow{Room: r.ID, User: p.ID, Role: role, Created: tx.Millis()}
	if r.Encrypted && r.KeyID != "" && p.Public != "" {
		sub.Waits = tx.Millis()
	}
	if err := sub.put(tx); err != nil {
		return err
	}
	if err := tx.Queue(`DELETE FROM rocketchat_gone WHERE user_id = $1 AND room = $2`, p.ID, r.ID); err != nil {
		return err
	}
	return s.tell(tx, "inserted", sub, r)
}

// postGroup makes a private group or a channel.
func (c *call) postGroup(kind, member string) (any, error) {
	var q struct {
		Name        string          `json:"name"`
		Members     []string        `json:"members"`
		ReadOnly    bool            `json:"readOnly"`
		ExcludeSelf bool            `json:"excludeSelf"`
		Custom      json.RawMessage `json:"customFields"`
		Extra       struct {
			Encrypted *bool           `json:"encrypted"`
			Topic     string          `json:"topic"`
			Broadcast bool            `json:"broadcast"`
			Team      json.RawMessage `json:"teamId"`
			Federated bool            `json:"federated"`
		} `json:"extraData"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if !nameForm.MatchString(q.Name) {
		return nil, refused("error-invalid-room-name", "a room's name has letters, digits and . _ -, and begins with a letter or a digit")
	}
	if len(q.Members) > maxMembers || len(q.Extra.Topic) > maxTopic || q.ReadOnly || q.ExcludeSelf || q.Extra.Broadcast || q.Extra.Federated {
		return nil, invalid("this server has no read-only, broadcast or federated rooms, and its rooms have at most 1000 members")
	}
	// E2E_Enabled_Default_PrivateRooms: a private group is encrypted unless the
	// caller says that it is not.
	encrypted := kind == typePrivate
	if kind == typePrivate && q.Extra.Encrypted != nil {
		encrypted = *q.Extra.Encrypted
		if !encrypted && c.Setting(settingForce) == "on" {
			return nil, refused(wire.CodeEncryptionForce, "private rooms of this server are encrypted")
		}
	}
	var shown wire.Room
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		var taken int64
		if err := tx.Row(`SELECT COUNT(*) FROM rocketchat_room WHERE name = $1`, q.Name).Scan(&taken); err != nil {
			return err
		}
		if taken > 0 {
			return refused("error-duplicate-channel-name", "a room with this name already exists")
		}
		id, err := rocketchat.NewID(c.Rand)
		if err != nil {
			return err
		}
		members := []person{c.me}
		for _, name := range q.Members {
			p, err := c.lookup(tx, "", name)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(members, func(m person) bool { return m.ID == p.ID }) {
				members = append(members, p)
			}
		}
		r := &roomRow{ID: quinta.RoomID(id), Type: kind, Name: q.Name, Topic: q.Extra.Topic, Creator: c.me.ID, Encrypted: encrypted, Created: tx.Millis(), Last: tx.Millis()}
		if err := c.makeRoomOf(tx, r, members); err != nil {
			return err
		}
		shown, err = r.shown(tx)
		return err
	})
	return answer{member: shown}, err
}

// maySettings reports whether the caller may change encryption and its keys: an
// owner, and both members of a direct conversation.
func maySettings(r *roomRow, s *subRow) bool { return r.Type == typeDirect || s.Role == "owner" }

// encrypt switches encryption on. It is never switched off.
func (c *call) encrypt(tx *db.Tx, id quinta.RoomID, on bool) (*roomRow, error) {
	r, s, err := c.mine(tx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Type == typeChannel:
		return nil, refused(wire.CodeForbidden, "a public channel cannot be encrypted")
	case !maySettings(r, s):
		return nil, forbidden("only an owner of the room can switch encryption on")
	case r.Encrypted && !on:
		return nil, refused(wire.CodeForbidden, "encryption cannot be switched off on this server")
	case r.Encrypted == on:
		return r, nil
	}
	r.Encrypted = true
	if err := r.put(tx); err != nil {
		return nil, err
	}
	if err := c.system(tx, r, c.me, rocketchat.TypeOn, string(c.me.Name)); err != nil {
		return nil, err
	}
	members, err := membersOf(tx, id)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if err := m.put(tx); err != nil { // so that updatedSince shows it
			return nil, err
		}
		if err := c.tell(tx, "updated", m, r); err != nil {
			return nil, err
		}
	}
	return r, c.roomChanged(tx, "updated", r)
}

func (c *call) setEncrypted() (any, error) {
	var q struct {
		Room      quinta.RoomID `json:"roomId"`
		Encrypted bool          `json:"encrypted"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var shown wire.Room
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		r, err := c.encrypt(tx, q.Room, q.Encrypted)
		if err != nil {
			return err
		}
		shown, err = r.shown(tx)
		return err
	})
	return answer{"group": shown}, err
}

func (c *call) saveSettings() (any, error) {
	var q struct {
		Room      quinta.RoomID `json:"rid"`
		Encrypted *bool         `json:"encrypted"`
		Topic     *string       `json:"roomTopic"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		r, s, err := c.mine(tx, q.Room)
		if err != nil {
			return err
		}
		if q.Topic != nil {
			if !maySettings(r, s) {
				return forbidden("only an owner of the room can change its topic")
			}
			if len(*q.Topic) > maxTopic {
				return invalid("the topic is too long")
			}
			r.Topic = *q.Topic
			if err := r.put(tx); err != nil {
				return err
			}
			if err := c.roomChanged(tx, "updated", r); err != nil {
				return err
			}
		}
		if q.Encrypted != nil {
			_, err = c.encrypt(tx, q.Room, *q.Encrypted)
		}
		return err
	})
	return answer{"rid": q.Room}, err
}

// changed returns the ids of the caller's rooms that changed at a time or later, and of
// those that they left then.
func (c *call) changed(tx *db.Tx, since int64) (update, gone []quinta.RoomID, err error) {
	for row, err := range tx.Query(`SELECT s.room FROM rocketchat_sub s JOIN rocketchat_room r ON r.id = s.room
		WHERE s.user_id = $1 AND (s.updated >= $2 OR r.updated >= $2) ORDER BY s.room`, c.me.ID, since) {
		if err != nil {
			return nil, nil, err
		}
		var id quinta.RoomID
		if err := row.Scan(&id); err != nil {
			return nil, nil, err
		}
		update = append(update, id)
	}
	if since <= 0 {
		return update, nil, nil
	}
	for row, err := range tx.Query(`SELECT room FROM rocketchat_gone WHERE user_id = $1 AND at >= $2 ORDER BY room`, c.me.ID, since) {
		if err != nil {
			return nil, nil, err
		}
		var id quinta.RoomID
		if err := row.Scan(&id); err != nil {
			return nil, nil, err
		}
		gone = append(gone, id)
	}
	return update, gone, nil
}

func (c *call) getRooms() (any, error) {
	since, err := c.date("updatedSince", 0)
	if err != nil {
		return nil, err
	}
	update, remove := []wire.Room{}, []answer{}
	err = c.View(c.ctx, func(tx *db.Tx) error {
		ids, gone, err := c.changed(tx, since)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := getRoom(tx, id)
			if err != nil {
				return err
			}
			shown, err := r.shown(tx)
			if err != nil {
				return err
			}
			update = append(update, shown)
		}
		for _, id := range gone {
			remove = append(remove, answer{"_id": id})
		}
		return nil
	})
	return answer{"update": update, "remove": remove}, err
}

func (c *call) getSubs() (any, error) {
	since, err := c.date("updatedSince", 0)
	if err != nil {
		return nil, err
	}
	update, remove := []wire.Subscription{}, []answer{}
	err = c.View(c.ctx, func(tx *db.Tx) error {
		ids, gone, err := c.changed(tx, since)
		if err != nil {
			return err
		}
		for _, id := range ids {
			shown, err := c.ownSub(tx, id)
			if err != nil {
				return err
			}
			update = append(update, shown)
		}
		for _, id := range gone {
			remove = append(remove, answer{"_id": string(id) + c.me.ID, "rid": id})
		}
		return nil
	})
	return answer{"update": update, "remove": remove}, err
}

func (c *call) ownSub(tx *db.Tx, id quinta.RoomID) (wire.Subscription, error) {
	r, s, err := c.mine(tx, id)
	if err != nil {
		return wire.Subscription{}, err
	}
	if r, err = named(tx, r, c.me); err != nil {
		return wire.Subscription{}, err
	}
	return s.shown(r, c.me), nil
}

func (c *call) getSub() (any, error) {
	var shown any
	err := c.View(c.ctx, func(tx *db.Tx) error {
		s, err := c.ownSub(tx, quinta.RoomID(c.query.Get("roomId")))
		if errors.Is(err, errNoRoom) {
			return nil // as Rocket.Chat answers: subscription is null
		}
		shown = s
		return err
	})
	return answer{"subscription": shown}, err
}

func (c *call) roomInfo() (any, error) {
	var shown wire.Room
	err := c.View(c.ctx, func(tx *db.Tx) error {
		r, err := c.findRoom(tx, quinta.RoomID(c.query.Get("roomId")), c.query.Get("roomName"))
		if err != nil {
			return err
		}
		shown, err = r.shown(tx)
		return err
	})
	name := map[string]string{typeChannel: "channel", typePrivate: "group", typeDirect: "room"}[shown.Type]
	return answer{"room": shown, name: shown}, err
}

// findRoom returns a room of the caller's, or a public channel, by id or name.
func (c *call) findRoom(tx *db.Tx, id quinta.RoomID, name string) (*roomRow, error) {
	if id == "" && name != "" {
		err := tx.Row(`SELECT id FROM rocketchat_room WHERE name = $1`, name).Scan(&id)
		if errors.Is(err, db.ErrNoRows) {
			return nil, errNoRoom
		}
		if err != nil {
			return nil, err
		}
	}
	r, err := getRoom(tx, id)
	if err != nil || r.Type == typeChannel {
		return r, err
	}
	_, err = getSub(tx, id, c.me.ID)
	return r, err
}

func (c *call) byTypeAndName() (any, error) {
	var kind, name string
	if err := c.texts(&kind, &name); err != nil {
		return nil, err
	}
	var shown wire.Room
	err := c.View(c.ctx, func(tx *db.Tx) error {
		r, err := c.findRoom(tx, "", name)
		if err != nil || r.Type != kind {
			return errors.Join(err, errNoRoom)
		}
		shown, err = r.shown(tx)
		return err
	})
	return shown, err
}
