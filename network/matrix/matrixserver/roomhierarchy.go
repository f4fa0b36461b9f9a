package matrixserver

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomHierarchyCalls() {
	s.at(http.MethodGet, "/_matrix/client/v1/rooms/{roomId}/hierarchy", endpoint{rate: rateRead, handle: (*call).getHierarchy})
}

// Bounds of a walk through a space.
const (
	maxHierarchyPage  = 50
	maxHierarchyRooms = 1000
	maxHierarchyDepth = 16
)

// sortEvents orders events by their place in the log.
func sortEvents(list []*room.Event, forth bool) {
	slices.SortFunc(list, func(a, b *room.Event) int {
		if forth {
			return cmp.Compare(a.Pos, b.Pos)
		}
		return cmp.Compare(b.Pos, a.Pos)
	})
}

// A hierarchyRoom is one room of a space.
type hierarchyRoom struct {
	*roomSummary
	Children []childState `json:"children_state"`
}

// A childState is an m.space.child event, stripped.
type childState struct {
	wire.StrippedEvent
	Time int64 `json:"origin_server_ts"`
}

// A walk goes through a space, depth first.
type walk struct {
	c         *call
	tx        *db.Tx
	suggested bool
	maxDepth  int
	seen      map[quinta.RoomID]bool
	rooms     []hierarchyRoom
	need      int
}

// getHierarchy: "GET /_matrix/client/v1/rooms/{roomId}/hierarchy". Pages are
// counted over the same walk; what changes in between may shift them.
func (c *call) getHierarchy() (any, error) {
	limit, err := c.paramInt("limit", maxHierarchyPage, 1, maxHierarchyPage)
	if err != nil {
		return nil, err
	}
	depth, err := c.paramInt("max_depth", maxHierarchyDepth, 0, maxHierarchyDepth)
	if err != nil {
		return nil, err
	}
	suggested := c.param("suggested_only") == "true"
	// A token goes with the walk that it was given for.
	walkID := string(c.roomID()) + " " + c.param("max_depth") + " " + c.param("suggested_only")
	skip, err := c.hierarchyPage(walkID)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		w := &walk{c: c, tx: tx, suggested: suggested, maxDepth: int(depth), seen: map[quinta.RoomID]bool{}, need: skip + int(limit) + 1}
		ok, err := w.visit(c.roomID(), 0)
		if err != nil {
			return err
		}
		if !ok {
			return roomview.ErrNotMember
		}
		from, to := min(skip, len(w.rooms)), min(skip+int(limit), len(w.rooms))
		out["rooms"] = append([]hierarchyRoom{}, w.rooms[from:to]...)
		if to < len(w.rooms) {
			out["next_batch"] = base64.RawURLEncoding.EncodeToString([]byte(pageToken(to) + " " + walkID))
		}
		return nil
	})
	return out, err
}

// hierarchyPage reads the token of a walk.
func (c *call) hierarchyPage(walkID string) (int, error) {
	s := c.param("from")
	if s == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	page, id, ok := strings.Cut(string(raw), " ")
	if err != nil || !ok || id != walkID {
		return 0, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "from is not a token that the server issued for this listing")
	}
	return parsePage(page)
}

// visit adds a room and what is below it. It reports whether the caller may
// see the room.
func (w *walk) visit(id quinta.RoomID, depth int) (bool, error) {
	if w.seen[id] || len(w.seen) >= maxHierarchyRooms || len(w.rooms) >= w.need {
		return true, nil
	}
	w.seen[id] = true
	r, err := room.Get(w.tx, id)
	if err != nil {
		if quinta.KindOf(err) == quinta.KindNotFound {
			err = nil
		}
		return false, err
	}
	s, err := w.c.accessible(w.tx, r)
	if err != nil || s == nil {
		return false, err
	}
	h := hierarchyRoom{roomSummary: s, Children: []childState{}}
	if s.Type == "m.space" {
		if h.Children, err = w.children(id); err != nil {
			return false, err
		}
	}
	w.rooms = append(w.rooms, h)
	if depth >= w.maxDepth {
		return true, nil
	}
	for _, ch := range h.Children {
		if _, err := w.visit(quinta.RoomID(*ch.StateKey), depth+1); err != nil {
			return false, err
		}
	}
	return true, nil
}

// children returns the m.space.child events of a space in their order
// ("Ordering of children within a space").
func (w *walk) children(id quinta.RoomID) ([]childState, error) {
	list, err := room.StateOfType(w.tx, id, "m.space.child")
	if err != nil {
		return nil, err
	}
	type child struct {
		e     *room.Event
		order string
	}
	var kids []child
	for _, e := range list {
		var via []json.RawMessage
		raw, _ := wire.Member(e.Content, "via")
		if json.Unmarshal(raw, &via) != nil || len(via) == 0 || !strings.HasPrefix(*e.StateKey, "!") {
			continue
		}
		if s, _ := wire.Member(e.Content, "suggested"); w.suggested && string(s) != "true" {
			continue
		}
		order, _ := wire.TextMember(e.Content, "order")
		if !validOrder(order) {
			order = ""
		}
		kids = append(kids, child{e, order})
	}
	slices.SortStableFunc(kids, func(a, b child) int {
		switch {
		case (a.order == "") != (b.order == ""):
			if a.order == "" {
				return 1
			}
			return -1
		case a.order != b.order:
			return strings.Compare(a.order, b.order)
		case a.e.Time != b.e.Time:
			return cmp.Compare(a.e.Time, b.e.Time)
		}
		return strings.Compare(*a.e.StateKey, *b.e.StateKey)
	})
	out := make([]childState, 0, len(kids))
	for _, k := range kids {
		out = append(out, childState{wire.StrippedEvent{Content: k.e.Content, Sender: k.e.Sender, StateKey: k.e.StateKey, Type: k.e.Type}, k.e.Time})
	}
	return out, nil
}

// validOrder reports whether an order of a child counts: up to 50 characters
// from space to tilde.
func validOrder(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) <= 50
}
