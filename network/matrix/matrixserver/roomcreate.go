package matrixserver

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomCreateCalls() {
	s.client(http.MethodPost, "/createRoom", endpoint{rate: rateCreate, body: maxBody, handle: (*call).postCreateRoom})
}

// Limits of one creation.
const (
	maxInitialState = 500
	maxInvites      = 500
)

// rateCreate bounds how many rooms one user makes.
var rateCreate = server.Rate{Every: 10 * time.Second, Burst: 30}

// A preset is what a new room begins with.
type preset struct {
	joinRule, visibility, guests string
	// equals says that those invited get the creator's power.
	equals bool
}

// presets of the client-server API, "POST /createRoom".
var presets = map[string]preset{
	wire.PresetPrivate: {"invite", "shared", "can_join", false},
	wire.PresetTrusted: {"invite", "shared", "can_join", true},
	wire.PresetPublic:  {"public", "shared", "forbidden", false},
}

// postCreateRoom: "POST /createRoom".
func (c *call) postCreateRoom() (any, error) {
	if err := limited(c.Limits.Allow("create", server.ByUser(network, c.user), rateCreate, 1)); err != nil {
		return nil, err
	}
	var q wire.NewRoom
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	v, p, err := c.checkCreation(&q)
	if err != nil {
		return nil, err
	}
	id, err := c.newRoomID()
	if err != nil {
		return nil, err
	}
	err = c.Update(c.ctx(), func(tx *db.Tx) error {
		for _, u := range q.Invite {
			if err := c.invitable(tx, u); err != nil {
				return err
			}
		}
		w := &roomWriter{s: c.homeserver, tx: tx, id: id, version: v}
		if err := c.createRoom(w, &q, p); err != nil {
			return err
		}
		id = w.id
		return nil
	})
	if we, ok := err.(*wire.Error); ok && we.Code == wire.CodeForbidden && we.Status == http.StatusForbidden && len(q.Initial)+len(q.Levels) > 0 {
		// The rules of the room refuse something that the caller asked for.
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidRoomState, we.Message)
	}
	return wire.RoomAnswer{Room: id}, err
}

// checkCreation refuses what can be refused without the store.
func (c *call) checkCreation(q *wire.NewRoom) (eventauth.Version, preset, error) {
	bad := func(code wire.Code, text string) (eventauth.Version, preset, error) {
		return 0, preset{}, wire.NewError(http.StatusBadRequest, code, text)
	}
	v := eventauth.Default
	if q.Version != nil {
		var err error
		if v, err = eventauth.ParseVersion(*q.Version); err != nil {
			return bad(wire.CodeUnsupportedRoom, "the server does not know this room version")
		}
	}
	switch q.Visibility {
	case "":
		q.Visibility = "private"
	case "public", "private":
	default:
		return bad(wire.CodeInvalidParam, "visibility must be public or private")
	}
	if q.Preset == "" {
		q.Preset = q.Visibility + "_chat"
	}
	p, ok := presets[q.Preset]
	if !ok {
		return bad(wire.CodeInvalidParam, "there is no such preset")
	}
	if len(q.Invite3PID) > 0 {
		return bad(wire.CodeInvalidParam, "the server does not invite by e-mail address or telephone number")
	}
	if len(q.Initial) > maxInitialState || len(q.Invite) > maxInvites {
		return bad(wire.CodeTooLarge, "too many events for one room creation")
	}
	for i := range q.Initial {
		e := &q.Initial[i]
		if e.Type == nil {
			return bad(wire.CodeBadJSON, "an event of initial_state has no type")
		}
		content, err := eventauth.Canonical(e.Content)
		if err != nil {
			return bad(wire.CodeBadJSON, "the content of an event of initial_state is not an object that canonical JSON can hold")
		}
		if *e.Type == eventauth.TypeCreate || *e.Type == eventauth.TypeMember {
			return bad(wire.CodeInvalidRoomState, *e.Type+" cannot be in initial_state")
		}
		e.Content = content
	}
	if q.AliasName != "" {
		if _, err := c.parseAlias("#" + q.AliasName + ":" + c.Core.Name); err != nil {
			return 0, preset{}, err
		}
	}
	return v, p, nil
}

// newRoomID makes the id of a room whose version does not derive it.
func (s *homeserver) newRoomID() (quinta.RoomID, error) {
	var b [15]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", err
	}
	return quinta.RoomID("!" + base64.RawURLEncoding.EncodeToString(b[:]) + ":" + s.Core.Name), nil
}

// mergeObject writes the members of the JSON object over into m.
func mergeObject(m map[string]any, over json.RawMessage) error {
	if len(over) == 0 || string(over) == "null" {
		return nil
	}
	var f map[string]json.RawMessage
	if json.Unmarshal(over, &f) != nil {
		return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "creation_content and power_level_content_override must be objects")
	}
	for k, v := range f {
		m[k] = v
	}
	return nil
}

// begin adds m.room.create and the creator. w.id is set from the event in
// versions that derive it.
func (w *roomWriter) begin(creator quinta.UserID, content map[string]any, equals []quinta.UserID) error {
	content["room_version"] = w.version.String()
	delete(content, "creator")
	if w.version.CreatorInContent() {
		content["creator"] = creator
	}
	if w.version.RoomIDFromCreate() {
		w.id = ""
		if err := addCreators(content, equals); err != nil {
			return err
		}
	}
	if _, err := w.set(eventauth.TypeCreate, "", creator, content); err != nil {
		return err
	}
	m, err := w.s.newMember(w.tx, creator, room.Join, nil)
	if err != nil {
		return err
	}
	_, err = w.set(eventauth.TypeMember, string(creator), creator, m)
	return err
}

// addCreators puts users beside those that additional_creators has already.
func addCreators(content map[string]any, more []quinta.UserID) error {
	if len(more) == 0 {
		return nil
	}
	var have []quinta.UserID
	if raw, ok := content["additional_creators"].(json.RawMessage); ok {
		if json.Unmarshal(raw, &have) != nil {
			return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "additional_creators is not a list of user ids")
		}
	}
	for _, u := range more {
		if !slices.Contains(have, u) {
			have = append(have, u)
		}
	}
	content["additional_creators"] = have
	return nil
}

// createRoom adds all that a new room begins with, in the order of the
// specification.
func (c *call) createRoom(w *roomWriter, q *wire.NewRoom, p preset) error {
	create := map[string]any{}
	if err := mergeObject(create, q.Create); err != nil {
		return err
	}
	var equals []quinta.UserID
	if p.equals {
		equals = q.Invite
	}
	if err := w.begin(c.user, create, equals); err != nil {
		return err
	}
	names := make([]string, len(equals))
	for i, u := range equals {
		names[i] = string(u)
	}
	levels := eventauth.DefaultLevels(w.version, string(c.user), names...)
	if err := mergeObject(levels, q.Levels); err != nil {
		return err
	}
	if _, err := w.set(eventauth.TypePowerLevels, "", c.user, levels); err != nil {
		return err
	}
	if err := c.createAlias(w, q); err != nil {
		return err
	}
	if err := c.createState(w, q, p); err != nil {
		return err
	}
	for _, u := range q.Invite {
		if u == c.user {
			continue
		}
		more := map[string]any{}
		if q.Direct {
			more["is_direct"] = true
		}
		if err := w.invite(c.user, u, more); err != nil {
			return err
		}
	}
	if q.Visibility == "public" {
		return room.SetListed(w.tx, w.id, true)
	}
	return nil
}

// createAlias gives a new room its alias.
func (c *call) createAlias(w *roomWriter, q *wire.NewRoom) error {
	if q.AliasName == "" {
		return nil
	}
	alias := "#" + q.AliasName + ":" + c.Core.Name
	err := room.PutAlias(w.tx, room.Alias{Alias: alias, Room: w.id, Creator: c.user})
	if quinta.KindOf(err) == quinta.KindExists && err != nil {
		return wire.NewError(http.StatusBadRequest, wire.CodeRoomInUse, "the alias is taken")
	}
	if err != nil {
		return err
	}
	_, err = w.set("m.room.canonical_alias", "", c.user, map[string]any{"alias": alias})
	return err
}

// createState adds what the preset, initial_state, name and topic ask for.
// initial_state replaces what the preset would say.
func (c *call) createState(w *roomWriter, q *wire.NewRoom, p preset) error {
	asked := func(typ string) bool {
		return slices.ContainsFunc(q.Initial, func(e wire.InitialEvent) bool { return *e.Type == typ && e.Key == "" })
	}
	for _, e := range []struct{ typ, member, value string }{
		{eventauth.TypeJoinRules, "join_rule", p.joinRule},
		{eventauth.TypeHistoryVisibility, "history_visibility", p.visibility},
		{"m.room.guest_access", "guest_access", p.guests},
	} {
		if asked(e.typ) {
			continue
		}
		if _, err := w.set(e.typ, "", c.user, map[string]any{e.member: e.value}); err != nil {
			return err
		}
	}
	for _, e := range q.Initial {
		if err := c.stateAllowed(w.tx, w.id, *e.Type, e.Content); err != nil {
			return err
		}
		if _, err := w.add(proposal{Type: *e.Type, Key: &e.Key, Sender: c.user, Content: e.Content}); err != nil {
			return err
		}
	}
	if q.Name != nil && *q.Name != "" {
		if _, err := w.set("m.room.name", "", c.user, map[string]any{"name": *q.Name}); err != nil {
			return err
		}
	}
	if q.Topic != nil && *q.Topic != "" {
		content := map[string]any{"topic": *q.Topic, "m.topic": map[string]any{"m.text": []any{map[string]any{"body": *q.Topic}}}}
		if _, err := w.set("m.room.topic", "", c.user, content); err != nil {
			return err
		}
	}
	return nil
}

// invite adds an invitation of user by sender.
func (w *roomWriter) invite(sender, user quinta.UserID, more map[string]any) error {
	content, err := w.s.newMember(w.tx, user, room.Invite, more)
	if err != nil {
		return err
	}
	_, err = w.set(eventauth.TypeMember, string(user), sender, content)
	return err
}

// invitable refuses users who cannot be invited: the server does not
// federate, and knows its own.
func (s *homeserver) invitable(tx *db.Tx, user quinta.UserID) error {
	if _, _, ok := wire.SplitUserID(user); !ok {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a user id")
	}
	name := s.accountOf(user)
	if name == "" {
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the user is on another server, and this one does not federate")
	}
	there, err := account.Exists(tx, name)
	if err == nil && !there {
		err = wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such user")
	}
	return err
}

// canonicalJSON returns v as canonical JSON.
func canonicalJSON(v any) (json.RawMessage, error) {
	raw, err := canonicaljson.Marshal(v)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the content has no canonical form")
	}
	return raw, nil
}
