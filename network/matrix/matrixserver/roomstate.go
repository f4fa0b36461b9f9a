package matrixserver

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomStateCalls() {
	s.client(http.MethodGet, "/rooms/{roomId}/state", endpoint{rate: rateRead, handle: (*call).getState})
	for _, path := range []string{"/rooms/{roomId}/state/{eventType}", "/rooms/{roomId}/state/{eventType}/{stateKey}"} {
		s.client(http.MethodGet, path, endpoint{rate: rateRead, handle: (*call).getStateEvent})
		s.client(http.MethodPut, path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).putState})
	}
}

// stateKey returns the state key of the path, "" if the path ends before it.
func (c *call) stateKey() string {
	if len(c.vars) == 3 {
		return c.path("stateKey")
	}
	return ""
}

// getState: "GET /rooms/{roomId}/state".
func (c *call) getState() (any, error) {
	var out []*wire.Event
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		var list []*room.Event
		if v.Past {
			list, err = room.StateAt(tx, c.roomID(), v.Pos)
		} else {
			list, err = room.State(tx, c.roomID())
		}
		if err != nil {
			return err
		}
		out, err = c.reader(v.Sight).RenderAll(tx, list)
		return err
	})
	return out, err
}

// reader is the caller as a reader of events.
func (c *call) reader(s *roomview.Sight) *roomview.Reader {
	return &roomview.Reader{User: c.user, Device: c.device, Sight: s}
}

// getStateEvent: "GET /rooms/{roomId}/state/{eventType}/{stateKey}".
func (c *call) getStateEvent() (any, error) {
	var out any
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		e, err := room.StateOfAt(tx, c.roomID(), c.path("eventType"), c.stateKey(), v.Pos)
		if err != nil {
			return err
		}
		if e == nil {
			return wire.NewError(http.StatusNotFound, wire.CodeNotFound, "the room has no such state")
		}
		if c.param("format") == "event" {
			out, err = c.reader(v.Sight).Render(tx, e)
			return err
		}
		out = json.RawMessage(e.Content)
		return nil
	})
	return out, err
}

// putState: "PUT /rooms/{roomId}/state/{eventType}/{stateKey}". Setting what
// is set already makes no new event.
func (c *call) putState() (any, error) {
	content, err := c.content()
	if err != nil {
		return nil, err
	}
	if err := limited(c.Limits.Allow("send", server.ByUser(network, c.user), rateSend, 1)); err != nil {
		return nil, err
	}
	typ, key := c.path("eventType"), c.stateKey()
	var id quinta.MessageID
	err = c.Update(c.ctx(), func(tx *db.Tx) error {
		w, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		cur, err := room.StateOf(tx, w.id, typ, key)
		if err != nil {
			return err
		}
		if typ == eventauth.TypeMember {
			if err := w.memberAllowed(c.user, quinta.UserID(key), content); err != nil {
				return err
			}
		} else if err := c.stateAllowed(tx, w.id, typ, content); err != nil {
			return err
		}
		if cur != nil && cur.Sender == c.user && cur.RedactedBy == "" && bytes.Equal(cur.Content, content) {
			m, err := room.MemberOf(tx, w.id, c.user)
			if err != nil {
				return err
			}
			if m.Membership != room.Join {
				return roomview.ErrNotMember
			}
			id = cur.ID
			return nil
		}
		e, err := w.add(proposal{Type: typ, Key: &key, Sender: c.user, Content: content, Device: c.device})
		if err != nil {
			return err
		}
		id = e.ID
		return nil
	})
	return wire.EventAnswer{Event: id}, err
}

// memberAllowed checks a membership that a client wrote itself against what
// the server requires beyond the room's rules.
func (w *roomWriter) memberAllowed(sender, target quinta.UserID, content json.RawMessage) error {
	membership, _ := wire.TextMember(content, "membership")
	switch membership {
	case room.Invite:
		own, err := room.MemberOf(w.tx, w.id, sender)
		if err != nil {
			return err
		}
		if own.Membership != room.Join {
			return roomview.ErrNotMember
		}
		return w.s.invitable(w.tx, target)
	case room.Join:
		// The rules trust the server that the user meets the conditions of a
		// restricted room when the event says that someone let them in.
		if _, ok := wire.Member(content, "join_authorised_via_users_server"); !ok {
			return nil
		}
		m, err := room.MemberOf(w.tx, w.id, target)
		if err != nil || m.Membership == room.Join || m.Membership == room.Invite {
			return err
		}
		jr, err := room.StateOf(w.tx, w.id, eventauth.TypeJoinRules, "")
		if err != nil || jr == nil {
			return err
		}
		in, err := allowed(w.tx, jr.Content, target)
		if err == nil && !in {
			err = wire.NewError(http.StatusForbidden, wire.CodeForbidden, "you are in none of the rooms that the join rule allows")
		}
		return err
	}
	return nil
}

// stateAllowed checks a state event that a client wrote against what the
// server requires beyond the room's rules: the aliases of
// m.room.canonical_alias must refer to the room.
func (s *homeserver) stateAllowed(tx *db.Tx, id quinta.RoomID, typ string, content json.RawMessage) error {
	if typ != "m.room.canonical_alias" {
		return nil
	}
	var aliases []string
	if raw, ok := wire.Member(content, "alt_aliases"); ok && string(raw) != "null" {
		if json.Unmarshal(raw, &aliases) != nil {
			return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "alt_aliases must be a list of aliases")
		}
	}
	if raw, ok := wire.Member(content, "alias"); ok && string(raw) != "null" {
		var a string
		if json.Unmarshal(raw, &a) != nil {
			return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "alias must be an alias")
		}
		if a != "" {
			aliases = append(aliases, a)
		}
	}
	for _, a := range aliases {
		if _, host, ok := wire.SplitAlias(a); ok && host != s.Core.Name {
			return wire.NewError(http.StatusBadRequest, wire.CodeBadAlias, "an alias belongs to another server, and this one does not federate")
		}
		if _, err := s.parseAlias(a); err != nil {
			return err
		}
		have, err := room.AliasOf(tx, a)
		if err != nil && quinta.KindOf(err) != quinta.KindNotFound {
			return err
		}
		if err != nil || have.Room != id {
			return wire.NewError(http.StatusBadRequest, wire.CodeBadAlias, "an alias does not refer to this room")
		}
	}
	return nil
}
