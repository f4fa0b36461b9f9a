package matrixserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomPublicCalls() {
	s.client(http.MethodGet, "/publicRooms", endpoint{open: true, rate: rateOpen, handle: (*call).getPublicRooms})
	s.client(http.MethodPost, "/publicRooms", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postPublicRooms})
	s.client(http.MethodGet, "/directory/list/room/{roomId}", endpoint{open: true, rate: rateOpen, handle: (*call).getListed})
	s.client(http.MethodPut, "/directory/list/room/{roomId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putListed})
	for _, path := range []string{"/_matrix/client/v1/room_summary/{roomIdOrAlias}", "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}"} {
		s.at(http.MethodGet, path, endpoint{rate: rateRead, handle: (*call).getRoomSummary})
	}
}

// A roomSummary is what a room shows to those outside.
type roomSummary struct {
	Avatar     string        `json:"avatar_url,omitempty"`
	Alias      string        `json:"canonical_alias,omitempty"`
	Guests     bool          `json:"guest_can_join"`
	JoinRule   string        `json:"join_rule"`
	Name       string        `json:"name,omitempty"`
	Members    int           `json:"num_joined_members"`
	Room       quinta.RoomID `json:"room_id"`
	Type       string        `json:"room_type,omitempty"`
	Topic      string        `json:"topic,omitempty"`
	World      bool          `json:"world_readable"`
	Encryption string        `json:"encryption,omitempty"`
	Version    string        `json:"room_version,omitempty"`
	Membership string        `json:"membership,omitempty"`
	Allowed    []string      `json:"allowed_room_ids,omitempty"`
}

// summarize reads what a room shows to those outside.
func summarize(tx *db.Tx, r room.Room) (*roomSummary, error) {
	s := &roomSummary{Room: r.ID, Members: r.Joined, JoinRule: "invite"}
	for _, f := range []struct {
		typ, member string
		into        *string
	}{
		{"m.room.avatar", "url", &s.Avatar},
		{"m.room.canonical_alias", "alias", &s.Alias},
		{"m.room.name", "name", &s.Name},
		{"m.room.topic", "topic", &s.Topic},
		{eventauth.TypeJoinRules, "join_rule", &s.JoinRule},
		{eventauth.TypeCreate, "type", &s.Type},
	} {
		if err := stateText(tx, r.ID, f.typ, f.member, f.into); err != nil {
			return nil, err
		}
	}
	var guests, vis string
	if err := stateText(tx, r.ID, "m.room.guest_access", "guest_access", &guests); err != nil {
		return nil, err
	}
	err := stateText(tx, r.ID, eventauth.TypeHistoryVisibility, "history_visibility", &vis)
	s.Guests, s.World = guests == "can_join", vis == "world_readable"
	return s, err
}

// stateText reads a string of a state event into into, if it is there.
func stateText(tx *db.Tx, id quinta.RoomID, typ, name string, into *string) error {
	e, err := room.StateOf(tx, id, typ, "")
	if err != nil || e == nil {
		return err
	}
	if v, ok := wire.TextMember(e.Content, name); ok {
		*into = v
	}
	return nil
}

// A publicQuery is what the two calls for the public rooms ask.
type publicQuery struct {
	Limit  *int64 `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Term  string    `json:"generic_search_term"`
		Types []*string `json:"room_types"`
	} `json:"filter"`
	AllNetworks bool   `json:"include_all_networks"`
	Network     string `json:"third_party_instance_id"`
}

// Bounds of one page of public rooms, and of how many are searched.
const (
	maxPublicPage = 500
	maxPublic     = 10000
)

// getPublicRooms: "GET /publicRooms".
func (c *call) getPublicRooms() (any, error) {
	limit, err := c.paramInt("limit", maxPublicPage, 1, maxPublicPage)
	if err != nil {
		return nil, err
	}
	return c.publicRooms(&publicQuery{Limit: &limit, Since: c.param("since")})
}

// postPublicRooms: "POST /publicRooms".
func (c *call) postPublicRooms() (any, error) {
	var q publicQuery
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Limit != nil && *q.Limit < 1 {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "limit is not a suitable number")
	}
	return c.publicRooms(&q)
}

// ratePublic bounds how often one address reads the public directory, which
// needs no account.
var ratePublic = server.Rate{Every: 200 * time.Millisecond, Burst: 50}

// publicRooms answers with one page of the public directory.
func (c *call) publicRooms(q *publicQuery) (any, error) {
	if err := limited(c.Limits.Allow("public rooms", server.ByAddr(c.addr()), ratePublic, 1)); err != nil {
		return nil, err
	}
	if s := c.param("server"); s != "" && s != c.Core.Name {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this server does not federate")
	}
	limit := maxPublicPage
	if q.Limit != nil {
		limit = int(min(*q.Limit, maxPublicPage))
	}
	skip, err := parsePage(q.Since)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		rooms, err := room.Listed(tx, 0, maxPublic)
		if err != nil {
			return err
		}
		out["total_room_count_estimate"] = len(rooms)
		chunk := []*roomSummary{}
		seen, more := 0, false
		for _, r := range rooms {
			if q.open() && seen < skip {
				seen++
				continue
			}
			s, err := summarize(tx, r)
			if err != nil {
				return err
			}
			if !q.matches(s) {
				continue
			}
			if seen++; seen <= skip {
				continue
			}
			if more = len(chunk) == limit; more {
				break
			}
			chunk = append(chunk, s)
		}
		out["chunk"] = chunk
		if more {
			out["next_batch"] = pageToken(skip + limit)
		}
		if skip > 0 {
			out["prev_batch"] = pageToken(max(skip-limit, 0))
		}
		return nil
	})
	return out, err
}

// open reports whether q asks for all rooms.
func (q *publicQuery) open() bool { return q.Filter.Term == "" && q.Filter.Types == nil }

// matches reports whether q asks for a room.
func (q *publicQuery) matches(s *roomSummary) bool {
	if q.Filter.Types != nil {
		in := false
		for _, t := range q.Filter.Types {
			in = in || t == nil && s.Type == "" || t != nil && *t == s.Type && s.Type != ""
		}
		if !in {
			return false
		}
	}
	term := strings.ToLower(q.Filter.Term)
	for _, text := range []string{s.Name, s.Topic, s.Alias} {
		if strings.Contains(strings.ToLower(text), term) {
			return true
		}
	}
	return false
}

// pageToken and parsePage are the tokens of pages that are counted.
func pageToken(skip int) string {
	return base64.RawURLEncoding.EncodeToString([]byte("p" + strconv.Itoa(skip)))
}

func parsePage(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	digits, ok := strings.CutPrefix(string(raw), "p")
	n, nerr := strconv.Atoi(digits)
	if err != nil || !ok || nerr != nil || n < 0 || n > 1<<30 {
		return 0, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a token that the server issued")
	}
	return n, nil
}

// getListed: "GET /directory/list/room/{roomId}".
func (c *call) getListed() (any, error) {
	vis := "private"
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		r, err := room.Get(tx, c.roomID())
		if r.Listed {
			vis = "public"
		}
		return err
	})
	return map[string]any{"visibility": vis}, err
}

// putListed: "PUT /directory/list/room/{roomId}". It needs the level of
// m.room.canonical_alias.
func (c *call) putListed() (any, error) {
	var q struct {
		Visibility *string `json:"visibility"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	listed := q.Visibility == nil || *q.Visibility == "public"
	if !listed && *q.Visibility != "private" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "visibility must be public or private")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if _, err := room.Get(tx, c.roomID()); err != nil {
			return err
		}
		w, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		may, err := w.maySet(c.user, "m.room.canonical_alias")
		if err != nil {
			return err
		}
		if !may {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "you are not in the room, or your power level is too low")
		}
		return room.SetListed(tx, w.id, listed)
	})
}

// getRoomSummary: "GET /_matrix/client/v1/room_summary/{roomIdOrAlias}".
func (c *call) getRoomSummary() (any, error) {
	var out *roomSummary
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		id, err := c.findRoom(tx)
		if err != nil {
			return err
		}
		r, err := room.Get(tx, id)
		if err != nil {
			return err
		}
		out, err = c.accessible(tx, r)
		if err == nil && out == nil {
			err = wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such room, or you may not see it")
		}
		if err != nil {
			return err
		}
		out.Version = r.Version
		if err := stateText(tx, id, "m.room.encryption", "algorithm", &out.Encryption); err != nil {
			return err
		}
		m, err := room.MemberOf(tx, id, c.user)
		if out.Membership = m.Membership; out.Membership == "" {
			out.Membership = "leave"
		}
		return err
	})
	return out, err
}

// accessible returns the summary of a room if the caller may see it: they are in
// it, is invited, could join or knock, or everyone may read it. Else nil.
func (c *call) accessible(tx *db.Tx, r room.Room) (*roomSummary, error) {
	s, err := summarize(tx, r)
	if err != nil {
		return nil, err
	}
	restricted := s.JoinRule == "restricted" || s.JoinRule == "knock_restricted"
	var rules json.RawMessage
	if restricted {
		e, err := room.StateOf(tx, r.ID, eventauth.TypeJoinRules, "")
		if err != nil {
			return nil, err
		}
		rules = e.Content
		s.Allowed = allowedRooms(rules)
	}
	if s.JoinRule == "public" || s.JoinRule == "knock" || s.JoinRule == "knock_restricted" || s.World {
		return s, nil
	}
	m, err := room.MemberOf(tx, r.ID, c.user)
	if err != nil {
		return nil, err
	}
	if m.Membership == room.Join || m.Membership == room.Invite {
		return s, nil
	}
	if restricted && m.Membership != "ban" {
		in, err := allowed(tx, rules, c.user)
		if err != nil || !in {
			return nil, err
		}
		return s, nil
	}
	return nil, nil
}
