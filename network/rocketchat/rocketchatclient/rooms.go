package rocketchatclient

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

var (
	_ client.Talker       = (*Session)(nil)
	_ client.MemberLister = (*Session)(nil)
	_ client.Moderator    = (*Session)(nil)
	_ client.KeyRotator   = (*Session)(nil)
	_ client.Encrypter    = (*Session)(nil)
	_ client.Profiled     = (*Session)(nil)
)

// Rooms implements client.Talker. It does not contact the server.
func (s *Session) Rooms(ctx context.Context) ([]client.RoomInfo, error) {
	var out []client.RoomInfo
	err := s.look(ctx, func(tx e2ee.Tx) error {
		list, err := s.machine.Rooms(tx)
		for _, r := range list {
			info := client.RoomInfo{Room: r.Room, Membership: "join", Topic: r.Topic, Direct: r.Type == "d"}
			if r.Left {
				info.Membership = "leave"
			}
			out = append(out, info)
		}
		return err
	})
	return out, errorOf("listing rooms", err)
}

// learn asks the server for a room and takes it in.
func (s *Session) learn(ctx context.Context, id quinta.RoomID) error {
	const op = "asking for a room"
	sub, err := s.link.subscription(ctx, id)
	if err != nil {
		return err
	}
	room, err := s.link.roomOf(ctx, id)
	if err != nil {
		return err
	}
	if sub == nil || room == nil || sub.Room != id || room.ID != id {
		return quinta.E(quinta.KindNotFound, op, "the server has no such room of this account")
	}
	return errorOf(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.Receive(tx, rocketchat.In{Rooms: []rocketchat.RoomState{wire.State(*sub, *room)}})
	}))
}

// Create implements client.Talker. A direct conversation is the one that there is
// with that user. A group without a name gets one. A room that is to be encrypted
// and that the server makes in clear is left alone, with an error. On a server of a
// release before 7.13, whose other clients cannot read the newest form, a new
// encrypted room is refused unless it is to have the legacy profile.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (quinta.RoomID, error) {
	const op = "creating a room"
	var id quinta.RoomID
	var err error
	if in.Direct {
		if len(in.Invite) != 1 || in.Clear {
			return "", quinta.E(quinta.KindInvalid, op, "a direct conversation is with one other user, and encrypted")
		}
	} else if in.Legacy && in.Clear {
		return "", quinta.E(quinta.KindInvalid, op, "an unencrypted group has no profile")
	}
	if err := s.mayEncrypt(ctx, op, in); err != nil {
		return "", err
	}
	if in.Direct {
		id, err = s.direct(ctx, in.Invite[0])
	} else {
		id, err = s.group(ctx, in)
	}
	if err != nil {
		return "", err
	}
	if err := s.learn(ctx, id); err != nil || in.Clear {
		return id, err
	}
	if in.Legacy {
		if err := s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.SetLegacy(tx, id, true) }); err != nil {
			return id, err
		}
	}
	r, err := s.room(ctx, id)
	if err != nil {
		return id, errorOf(op, err)
	}
	if !r.Encrypted {
		if err := s.encrypt(ctx, id); err != nil {
			return id, err
		}
	}
	return id, nil
}

// mayEncrypt refuses a new encrypted room whose messages the other clients of the
// server could not read. A direct conversation that exists already stays as it is.
func (s *Session) mayEncrypt(ctx context.Context, op string, in client.NewRoom) error {
	if in.Clear || in.Legacy {
		return nil
	}
	version, err := s.link.version(ctx)
	if err != nil {
		return err
	}
	return errorOf(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		events, err := s.machine.Receive(tx, rocketchat.In{Version: version})
		if err != nil {
			return nil, err
		}
		old, err := s.machine.OldServer(tx)
		if err != nil || !old {
			return events, err
		}
		rooms, err := s.machine.Rooms(tx)
		for _, r := range rooms {
			if in.Direct && r.Type == "d" && !r.Left && slices.Contains(r.Members, quinta.UserID(strings.TrimPrefix(string(in.Invite[0]), "@"))) {
				return events, err
			}
		}
		if err == nil {
			err = rocketchat.ErrOldServer
		}
		return nil, err
	}))
}

// Legacy implements client.Profiled. It is the one direct conversation with that user,
// which is written in the specification's own form from now on.
func (s *Session) Legacy(ctx context.Context, user quinta.UserID) (quinta.RoomID, error) {
	return s.Create(ctx, client.NewRoom{Direct: true, Invite: []quinta.UserID{user}, Legacy: true})
}

// Encrypt implements client.Encrypter. An owner of the room may do it, and both
// people of a direct conversation. The server must then say that it is on.
func (s *Session) Encrypt(ctx context.Context, id quinta.RoomID) error {
	const op = "switching encryption on"
	r, err := s.room(ctx, id)
	if err != nil {
		return errorOf(op, err)
	}
	if r.Encrypted {
		return nil
	}
	if err := s.mayEncrypt(ctx, op, client.NewRoom{Legacy: r.Legacy}); err != nil {
		return err
	}
	if err := s.encrypt(ctx, id); err != nil {
		return err
	}
	if r, err = s.room(ctx, id); err == nil && !r.Encrypted {
		return quinta.E(quinta.KindUnavailable, op, "the server has switched this off")
	}
	return errorOf(op, err)
}

// encrypt asks the server to switch encryption on in a room.
func (s *Session) encrypt(ctx context.Context, id quinta.RoomID) error {
	if err := s.link.post(ctx, "switching encryption on", "rooms.saveRoomSettings", object{"rid": id, "encrypted": true}, nil); err != nil {
		return err
	}
	return s.learn(ctx, id)
}

func (s *Session) direct(ctx context.Context, user quinta.UserID) (quinta.RoomID, error) {
	var a struct {
		Room struct {
			ID  quinta.RoomID `json:"_id"`
			RID quinta.RoomID `json:"rid"`
		} `json:"room"`
	}
	err := s.link.post(ctx, "creating a room", "im.create", object{"username": strings.TrimPrefix(string(user), "@")}, &a)
	if a.Room.ID == "" {
		a.Room.ID = a.Room.RID
	}
	return a.Room.ID, err
}

func (s *Session) group(ctx context.Context, in client.NewRoom) (quinta.RoomID, error) {
	name := roomName(in.Name)
	if name == "" {
		id, err := rocketchat.NewID(s.env.Rand)
		if err != nil {
			return "", err
		}
		name = "group-" + id[:8]
	}
	members := []string{}
	for _, u := range in.Invite {
		members = append(members, strings.TrimPrefix(string(u), "@"))
	}
	extra := object{"encrypted": !in.Clear}
	if in.Topic != "" {
		extra["topic"] = in.Topic
	}
	var a struct {
		Group wire.Room `json:"group"`
	}
	err := s.link.post(ctx, "creating a room", "groups.create", object{"name": name, "members": members, "extraData": extra}, &a)
	return a.Group.ID, err
}

// roomName makes a name that this network takes of what a person typed.
func roomName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, strings.TrimSpace(name))
	name = strings.TrimLeft(name, "._-")
	return name[:min(len(name), 120)]
}

// kind returns the beginning of the routes of a room.
func kindOfRoom(r rocketchat.RoomInfo) string {
	if r.Type == "c" {
		return "channels."
	}
	return "groups."
}

// userID asks for the id of a user.
func (s *Session) userID(ctx context.Context, user quinta.UserID) (string, error) {
	var a struct {
		User wire.User `json:"user"`
	}
	err := s.link.get(ctx, "looking a user up", "users.info", url.Values{"username": {strings.TrimPrefix(string(user), "@")}}, &a)
	return a.User.ID, err
}

// onMember posts one of the calls about a room and a user.
func (s *Session) onMember(ctx context.Context, op, call string, id quinta.RoomID, user quinta.UserID) error {
	r, err := s.room(ctx, id)
	if err != nil {
		return errorOf(op, err)
	}
	uid, err := s.userID(ctx, user)
	if err != nil {
		return err
	}
	return s.link.post(ctx, op, kindOfRoom(r)+call, object{"roomId": id, "userId": uid}, nil)
}

// Invite implements client.Talker. On this network the user is in the room at once.
func (s *Session) Invite(ctx context.Context, id quinta.RoomID, user quinta.UserID) error {
	return s.onMember(ctx, "inviting", "invite", id, user)
}

// Kick implements client.Moderator. The network has no place for a reason.
func (s *Session) Kick(ctx context.Context, id quinta.RoomID, user quinta.UserID, _ string) error {
	return s.onMember(ctx, "removing a member", "kick", id, user)
}

// Join implements client.Talker: a public channel by id or name, or a room that this
// account is in already.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	const op = "joining"
	name := strings.TrimPrefix(strings.TrimSpace(room), "#")
	list, err := s.Rooms(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range list {
		if r.Membership == "join" && (string(r.ID) == name || r.Name == name) {
			return r.ID, nil
		}
	}
	var found struct {
		Room wire.Room `json:"room"`
	}
	if err := s.link.get(ctx, op, "rooms.info", url.Values{"roomName": {name}}, &found); err != nil {
		return "", err
	}
	if err := s.link.post(ctx, op, "channels.join", object{"roomId": found.Room.ID}, nil); err != nil {
		return "", err
	}
	return found.Room.ID, s.learn(ctx, found.Room.ID)
}

// Leave implements client.Talker.
func (s *Session) Leave(ctx context.Context, id quinta.RoomID) error {
	const op = "leaving"
	r, err := s.room(ctx, id)
	if err != nil {
		return errorOf(op, err)
	}
	if r.Type == "d" {
		return quinta.E(quinta.KindInvalid, op, "direct conversations cannot be left on this network")
	}
	if err := s.link.post(ctx, op, kindOfRoom(r)+"leave", object{"roomId": id}, nil); err != nil {
		return err
	}
	return s.change(ctx, op, func(tx e2ee.Tx) error {
		_, err := s.machine.Receive(tx, rocketchat.In{Gone: []quinta.RoomID{id}})
		return err
	})
}

// Members implements client.MemberLister.
func (s *Session) Members(ctx context.Context, id quinta.RoomID) ([]client.Member, error) {
	const op = "listing members"
	r, err := s.room(ctx, id)
	if err != nil {
		return nil, errorOf(op, err)
	}
	call := kindOfRoom(r) + "members"
	if r.Type == "d" {
		call = "im.members"
	}
	var a struct {
		Members []wire.User `json:"members"`
	}
	if err := s.link.get(ctx, op, call, url.Values{"roomId": {string(id)}, "count": {"1000"}}, &a); err != nil {
		return nil, err
	}
	var out []client.Member
	for _, u := range a.Members {
		out = append(out, client.Member{User: quinta.UserID(printable.Line(u.Username)), Name: printable.Line(u.Name), Membership: "join"})
	}
	return out, nil
}

// RotateKey implements client.KeyRotator: the room key is reset when the session
// runs.
func (s *Session) RotateKey(ctx context.Context, id quinta.RoomID) error {
	return s.change(ctx, "replacing a room key", func(tx e2ee.Tx) error { return s.machine.Rotate(tx, id) })
}
