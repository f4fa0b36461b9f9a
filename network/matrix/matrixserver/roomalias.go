package matrixserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomAliasCalls() {
	s.client(http.MethodPut, "/directory/room/{roomAlias}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putAlias})
	s.client(http.MethodGet, "/directory/room/{roomAlias}", endpoint{open: true, rate: rateOpen, handle: (*call).getAlias})
	s.client(http.MethodDelete, "/directory/room/{roomAlias}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteAlias})
	s.client(http.MethodGet, "/rooms/{roomId}/aliases", endpoint{rate: rateRead, handle: (*call).getAliases})
}

// parseAlias checks the form of an alias and that it is one of this server,
// and returns its local part.
func (s *homeserver) parseAlias(alias string) (string, error) {
	local, host, ok := wire.SplitAlias(alias)
	if !ok || strings.ContainsAny(local, " \t\r\n") {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a room alias")
	}
	if host != s.Core.Name {
		return "", wire.NewError(http.StatusNotFound, wire.CodeNotFound, "the alias belongs to another server, and this one does not federate")
	}
	return local, nil
}

// putAlias: "PUT /directory/room/{roomAlias}".
func (c *call) putAlias() (any, error) {
	var q struct {
		Room quinta.RoomID `json:"room_id"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	alias := c.path("roomAlias")
	if _, host, ok := wire.SplitAlias(alias); !ok || host != c.Core.Name {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a room alias of this server")
	}
	if _, err := c.parseAlias(alias); err != nil {
		return nil, err
	}
	if q.Room == "" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which room_id?")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		m, err := room.MemberOf(tx, q.Room, c.user)
		if err != nil {
			return err
		}
		if m.Membership != room.Join {
			return roomview.ErrNotMember
		}
		err = room.PutAlias(tx, room.Alias{Alias: alias, Room: q.Room, Creator: c.user})
		if err != nil && quinta.KindOf(err) == quinta.KindExists {
			return wire.NewError(http.StatusConflict, wire.CodeUnknown, "the alias is taken")
		}
		return err
	})
}

// getAlias: "GET /directory/room/{roomAlias}".
func (c *call) getAlias() (any, error) {
	alias := c.path("roomAlias")
	if _, err := c.parseAlias(alias); err != nil {
		return nil, err
	}
	var a room.Alias
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		a, err = room.AliasOf(tx, alias)
		return err
	})
	return map[string]any{"room_id": a.Room, "servers": []string{c.Core.Name}}, err
}

// deleteAlias: "DELETE /directory/room/{roomAlias}". Who made the alias may
// remove it, and who may set m.room.canonical_alias; a canonical alias that
// is gone leaves that event too, if its remover may set it.
func (c *call) deleteAlias() (any, error) {
	alias := c.path("roomAlias")
	if _, err := c.parseAlias(alias); err != nil {
		return nil, err
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		a, err := room.AliasOf(tx, alias)
		if err != nil {
			return err
		}
		w, err := c.writeRoom(tx, a.Room)
		if err != nil {
			return err
		}
		power, err := w.maySet(c.user, "m.room.canonical_alias")
		if err != nil {
			return err
		}
		if a.Creator != c.user && !power {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the alias is not yours, and your power level is too low")
		}
		if err := room.DeleteAlias(tx, alias); err != nil {
			return err
		}
		if !power {
			return nil
		}
		return w.dropAlias(c.user, alias)
	})
}

// maySet reports whether user is in the room and has the level to set state
// of type typ.
func (w *roomWriter) maySet(user quinta.UserID, typ string) (bool, error) {
	m, err := room.MemberOf(w.tx, w.id, user)
	if err != nil || m.Membership != room.Join {
		return false, err
	}
	levels, err := roomview.Levels(w.tx, w.id, w.version)
	if err != nil {
		return false, eventError(err)
	}
	return levels.User(string(user)) >= levels.Event(typ, true), nil
}

// dropAlias takes a removed alias out of m.room.canonical_alias.
func (w *roomWriter) dropAlias(user quinta.UserID, alias string) error {
	e, err := room.StateOf(w.tx, w.id, "m.room.canonical_alias", "")
	if err != nil || e == nil {
		return err
	}
	var content map[string]json.RawMessage
	if json.Unmarshal(e.Content, &content) != nil {
		return nil
	}
	changed := false
	if a, _ := wire.TextMember(e.Content, "alias"); a == alias {
		delete(content, "alias")
		changed = true
	}
	var alt []string
	if json.Unmarshal(content["alt_aliases"], &alt) == nil && slices.Contains(alt, alias) {
		alt = slices.DeleteFunc(alt, func(s string) bool { return s == alias })
		raw, err := canonicalJSON(alt)
		if err != nil {
			return err
		}
		content["alt_aliases"] = raw
		changed = true
	}
	if !changed {
		return nil
	}
	_, err = w.set("m.room.canonical_alias", "", user, content)
	return err
}

// getAliases: "GET /rooms/{roomId}/aliases".
func (c *call) getAliases() (any, error) {
	names := []string{}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		m, err := room.MemberOf(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		if m.Membership != room.Join {
			vis, err := room.StateOf(tx, c.roomID(), eventauth.TypeHistoryVisibility, "")
			if err != nil {
				return err
			}
			if vis == nil {
				return roomview.ErrNotMember
			}
			if v, _ := wire.TextMember(vis.Content, "history_visibility"); v != "world_readable" {
				return roomview.ErrNotMember
			}
		}
		list, err := room.Aliases(tx, c.roomID())
		for _, a := range list {
			names = append(names, a.Alias)
		}
		return err
	})
	return map[string]any{"aliases": names}, err
}
