package matrixserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomMemberCalls() {
	s.client(http.MethodPost, "/join/{roomIdOrAlias}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postJoin})
	s.client(http.MethodPost, "/rooms/{roomIdOrAlias}/join", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postJoin})
	s.client(http.MethodPost, "/knock/{roomIdOrAlias}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postKnock})
	s.client(http.MethodPost, "/rooms/{roomId}/invite", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postInvite})
	s.client(http.MethodPost, "/rooms/{roomId}/leave", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postLeave})
	s.client(http.MethodPost, "/rooms/{roomId}/forget", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postForget})
	s.client(http.MethodPost, "/rooms/{roomId}/kick", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postKick})
	s.client(http.MethodPost, "/rooms/{roomId}/ban", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postBan})
	s.client(http.MethodPost, "/rooms/{roomId}/unban", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postUnban})
	s.client(http.MethodGet, "/joined_rooms", endpoint{rate: rateRead, handle: (*call).getJoinedRooms})
}

// roomID returns the room of the path.
func (c *call) roomID() quinta.RoomID { return quinta.RoomID(c.path("roomId")) }

// findRoom returns the room that an id or alias of the path names.
func (c *call) findRoom(tx *db.Tx) (quinta.RoomID, error) {
	s := c.path("roomIdOrAlias")
	if strings.HasPrefix(s, "#") {
		if _, err := c.parseAlias(s); err != nil {
			return "", err
		}
		a, err := room.AliasOf(tx, s)
		return a.Room, err
	}
	if !strings.HasPrefix(s, "!") {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is neither a room id nor an alias")
	}
	r, err := room.Get(tx, quinta.RoomID(s))
	return r.ID, err
}

// reason returns what the reason adds to the event.
func reason(q wire.MemberChange) map[string]any {
	if q.Reason == nil {
		return map[string]any{}
	}
	return map[string]any{"reason": *q.Reason}
}

// postJoin: "POST /join/{roomIdOrAlias}", "POST /rooms/{roomId}/join".
func (c *call) postJoin() (any, error) {
	more, err := c.joinContent()
	if err != nil {
		return nil, err
	}
	var id quinta.RoomID
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if id, err = c.findRoom(tx); err != nil {
			return err
		}
		return c.join(tx, id, more)
	})
	return wire.RoomAnswer{Room: id}, err
}

// joinContent returns what the body of a join adds to the membership event:
// the reason, and whatever else the client wants to have there, as it could
// write it itself. What the server decides on is left out.
func (c *call) joinContent() (map[string]any, error) {
	if err := limited(c.Limits.Allow("member", server.ByUser(network, c.user), rateMember, 1)); err != nil {
		return nil, err
	}
	var q wire.MemberChange
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	more := map[string]any{}
	if err := mergeObject(more, body); err != nil {
		return nil, err
	}
	for _, name := range []string{"membership", "user_id", "third_party_signed", "third_party_invite", "join_authorised_via_users_server"} {
		delete(more, name)
	}
	return more, nil
}

// join makes the caller a member. Joining again changes nothing.
func (c *call) join(tx *db.Tx, id quinta.RoomID, more map[string]any) error {
	m, err := room.MemberOf(tx, id, c.user)
	if err != nil || m.Membership == room.Join {
		return err
	}
	w, err := c.writeRoom(tx, id)
	if err != nil {
		return err
	}
	if m.Membership != room.Invite {
		via, err := w.authoriser(c.user)
		if err != nil {
			return err
		}
		if via != "" {
			more["join_authorised_via_users_server"] = via
		}
	}
	content, err := c.newMember(tx, c.user, room.Join, more)
	if err != nil {
		return err
	}
	_, err = w.set(eventauth.TypeMember, string(c.user), c.user, content)
	return err
}

// authoriser returns the member who lets user into a restricted room: one who
// may invite, if user is in one of the rooms that the join rule allows. It is
// "" where no one is needed, or no one is found, and then the rules refuse.
func (w *roomWriter) authoriser(user quinta.UserID) (quinta.UserID, error) {
	jr, err := room.StateOf(w.tx, w.id, eventauth.TypeJoinRules, "")
	if err != nil || jr == nil {
		return "", err
	}
	rule, _ := wire.TextMember(jr.Content, "join_rule")
	if rule != "restricted" && rule != "knock_restricted" {
		return "", nil
	}
	in, err := allowed(w.tx, jr.Content, user)
	if err != nil || !in {
		return "", err
	}
	levels, err := roomview.Levels(w.tx, w.id, w.version)
	if err != nil {
		return "", eventError(err)
	}
	need := levels.Named("invite")
	// Someone with power is found among the first members, or by name in the
	// power levels.
	for _, u := range levels.Users() {
		if levels.User(u) < need {
			continue
		}
		m, err := room.MemberOf(w.tx, w.id, quinta.UserID(u))
		if err != nil {
			return "", err
		}
		if m.Membership == room.Join {
			return m.Member, nil
		}
	}
	ms, err := room.Members(w.tx, w.id, room.Join, 50)
	if err != nil {
		return "", err
	}
	for _, m := range ms {
		if levels.User(string(m.Member)) >= need {
			return m.Member, nil
		}
	}
	return "", wire.NewError(http.StatusForbidden, wire.CodeUnableToGrantJoin, "no user in the room can let you in")
}

// allowedRooms lists the rooms of a restricted join rule.
func allowedRooms(joinRules json.RawMessage) []string {
	raw, _ := wire.Member(joinRules, "allow")
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []string
	for _, a := range list {
		typ, _ := wire.TextMember(a, "type")
		id, _ := wire.TextMember(a, "room_id")
		if typ == "m.room_membership" && id != "" && plain(id) {
			out = append(out, id)
		}
	}
	return out
}

// allowed reports whether user is in one of the rooms of a restricted join
// rule.
func allowed(tx *db.Tx, joinRules json.RawMessage, user quinta.UserID) (bool, error) {
	for _, id := range allowedRooms(joinRules) {
		m, err := room.MemberOf(tx, quinta.RoomID(id), user)
		if err != nil {
			return false, err
		}
		if m.Membership == room.Join {
			return true, nil
		}
	}
	return false, nil
}

// postKnock: "POST /knock/{roomIdOrAlias}".
func (c *call) postKnock() (any, error) {
	var q wire.MemberChange
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var id quinta.RoomID
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if id, err = c.findRoom(tx); err != nil {
			return err
		}
		w, err := c.writeRoom(tx, id)
		if err != nil {
			return err
		}
		content, err := c.newMember(tx, c.user, "knock", reason(q))
		if err != nil {
			return err
		}
		_, err = w.set(eventauth.TypeMember, string(c.user), c.user, content)
		return err
	})
	return wire.RoomAnswer{Room: id}, err
}

// rateMember bounds how often one user changes memberships, their own and
// others'.
var rateMember = server.Rate{Every: 200 * time.Millisecond, Burst: 100}

// target reads the body of a call that changes another user's membership.
func (c *call) target() (quinta.UserID, wire.MemberChange, error) {
	var q wire.MemberChange
	if err := limited(c.Limits.Allow("member", server.ByUser(network, c.user), rateMember, 1)); err != nil {
		return "", q, err
	}
	if err := c.decode(&q); err != nil {
		return "", q, err
	}
	if q.User == nil {
		return "", q, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which user_id?")
	}
	if _, _, ok := wire.SplitUserID(*q.User); !ok || !plain(string(*q.User)) {
		return "", q, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "user_id is not a user id")
	}
	return *q.User, q, nil
}

// postInvite: "POST /rooms/{roomId}/invite".
func (c *call) postInvite() (any, error) {
	if b, err := c.object(); err == nil {
		if _, ok := wire.Member(b, "medium"); ok {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the server does not invite by e-mail address or telephone number")
		}
	}
	user, q, err := c.target()
	if err != nil {
		return nil, err
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		w, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		if m, err := room.MemberOf(tx, w.id, c.user); err != nil || m.Membership != room.Join {
			if err == nil {
				err = roomview.ErrNotMember
			}
			return err
		}
		if err := c.invitable(tx, user); err != nil {
			return err
		}
		return w.invite(c.user, user, reason(q))
	})
}

// setOther gives another user a membership, of those that need power.
func (c *call) setOther(membership string, check func(have string) error) (any, error) {
	user, q, err := c.target()
	if err != nil {
		return nil, err
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		w, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		own, err := room.MemberOf(tx, w.id, c.user)
		if err != nil {
			return err
		}
		if own.Membership != room.Join {
			return roomview.ErrNotMember
		}
		m, err := room.MemberOf(tx, w.id, user)
		if err != nil {
			return err
		}
		if err := check(m.Membership); err != nil {
			return err
		}
		content := reason(q)
		content["membership"] = membership
		_, err = w.set(eventauth.TypeMember, string(user), c.user, content)
		return err
	})
}

// postKick: "POST /rooms/{roomId}/kick".
func (c *call) postKick() (any, error) {
	return c.setOther("leave", func(have string) error {
		switch have {
		case room.Join, room.Invite, "knock":
			return nil
		}
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the user is not in the room")
	})
}

// postBan: "POST /rooms/{roomId}/ban".
func (c *call) postBan() (any, error) {
	return c.setOther("ban", func(string) error { return nil })
}

// postUnban: "POST /rooms/{roomId}/unban".
func (c *call) postUnban() (any, error) {
	return c.setOther("leave", func(have string) error {
		if have != "ban" {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the user is not banned")
		}
		return nil
	})
}

// postLeave: "POST /rooms/{roomId}/leave". Leaving again changes nothing.
func (c *call) postLeave() (any, error) {
	var q wire.MemberChange
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		return c.leave(tx, c.roomID(), c.user, reason(q))
	})
}

// leave takes user out of a room.
func (s *homeserver) leave(tx *db.Tx, id quinta.RoomID, user quinta.UserID, content map[string]any) error {
	m, err := room.MemberOf(tx, id, user)
	if err != nil {
		return err
	}
	if m.Membership == "" {
		return roomview.ErrNotMember
	}
	if m.Membership == "leave" {
		return nil
	}
	w, err := s.writeRoom(tx, id)
	if err != nil {
		return err
	}
	content["membership"] = "leave"
	_, err = w.set(eventauth.TypeMember, string(user), user, content)
	return err
}

// leaveAll takes user, whose account ends, out of every room.
func (s *homeserver) leaveAll(tx *db.Tx, user quinta.UserID) error {
	ms, err := room.RoomsOf(tx, user)
	if err != nil {
		return err
	}
	for _, m := range ms {
		switch m.Membership {
		case room.Join, room.Invite, "knock":
			if err := s.leave(tx, m.Room, user, map[string]any{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// postForget: "POST /rooms/{roomId}/forget".
func (c *call) postForget() (any, error) {
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		m, err := room.MemberOf(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		switch m.Membership {
		case room.Join, room.Invite, "knock":
			return wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "leave the room before forgetting it")
		case "":
			return roomview.ErrNotMember
		}
		feed.Bump(tx, feed.User(network, c.user))
		return room.Forget(tx, c.roomID(), c.user)
	})
}

// getJoinedRooms: "GET /joined_rooms".
func (c *call) getJoinedRooms() (any, error) {
	ids := []quinta.RoomID{}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		ms, err := room.RoomsWith(tx, c.user, room.Join)
		for _, m := range ms {
			ids = append(ids, m.Room)
		}
		return err
	})
	return map[string]any{"joined_rooms": ids}, err
}

// profileChanged writes the profile of user into their membership of every room
// that they are in (client-server API, "Events on Change of Profile
// Information"). A room whose rules refuse the event keeps the old profile.
func (s *homeserver) profileChanged(tx *db.Tx, user quinta.UserID) error {
	feed.Bump(tx, feed.User(network, user))
	ms, err := room.RoomsWith(tx, user, room.Join)
	if err != nil {
		return err
	}
	for _, m := range ms {
		w, err := s.writeRoom(tx, m.Room)
		if err != nil {
			return err
		}
		content, err := s.newMember(tx, user, room.Join, nil)
		if err != nil {
			return err
		}
		_, err = w.set(eventauth.TypeMember, string(user), user, content)
		if we, ok := errors.AsType[*wire.Error](err); ok && we.Code == wire.CodeForbidden {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
