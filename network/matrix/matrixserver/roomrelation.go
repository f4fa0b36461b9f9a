package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/sync"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomRelationCalls() {
	const path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"
	for _, more := range []string{"", "/{relType}", "/{relType}/{eventType}"} {
		s.at(http.MethodGet, path+more, endpoint{rate: rateRead, handle: (*call).getRelations})
	}
	s.at(http.MethodGet, "/_matrix/client/v1/rooms/{roomId}/threads", endpoint{rate: rateRead, handle: (*call).getThreads})
}

// Bounds of one page of relations or threads, and of how deep relations of
// relations are followed.
const (
	maxRelations = 100
	maxRecursion = 3
)

// getRelations: "GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}",
// also with a relation type and an event type.
func (c *call) getRelations() (any, error) {
	q := room.RelationQuery{Room: c.roomID(), To: quinta.MessageID(c.path("eventId"))}
	if len(c.vars) > 2 {
		q.RelType = c.path("relType")
	}
	if len(c.vars) > 3 {
		q.Type = c.path("eventType")
	}
	switch c.param("dir") {
	case "", "b":
	case "f":
		q.Forward = true
	default:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "dir must be b or f")
	}
	limit, err := c.paramInt("limit", defaultPage, 1, maxRelations)
	if err != nil {
		return nil, err
	}
	q.Limit = int(limit)
	if q.Range, err = c.relationRange(q.Forward); err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		if _, _, err := c.readable(tx); err != nil {
			return err
		}
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		q.Range.To = min(q.Range.To, v.Pos)
		if c.param("recurse") == "true" {
			out["recursion_depth"] = maxRecursion
			return c.recurse(tx, out, v, q)
		}
		list, more, err := room.Relations(tx, q)
		if err != nil {
			return err
		}
		return c.writeRelations(tx, out, v, q, list, more)
	})
	return out, err
}

// relationRange reads from and to, in the order that the direction gives
// them.
func (c *call) relationRange(forth bool) (room.Range, error) {
	low, high := "to", "from"
	if forth {
		low, high = "from", "to"
	}
	from, err := c.paramToken(low, 0)
	if err != nil {
		return room.Range{}, err
	}
	to, err := c.paramToken(high, 1<<62)
	return room.Range{From: from, To: to}, err
}

// writeRelations fills the answer with the page list.
func (c *call) writeRelations(tx *db.Tx, out map[string]any, v *roomview.Viewpoint, q room.RelationQuery, list []*room.Event, more bool) error {
	if n := len(list); more && n > 0 {
		next := list[n-1].Pos
		if !q.Forward {
			next--
		}
		out["next_batch"] = sync.Token(next)
	}
	if s := c.param("from"); s != "" {
		out["prev_batch"] = s
	}
	var err error
	out["chunk"], err = c.reader(v.Sight).RenderAll(tx, v.Visible(list))
	return err
}

// recurse follows the relations of relations, breadth first, and answers with
// all of them as one page in the order of the log.
func (c *call) recurse(tx *db.Tx, out map[string]any, v *roomview.Viewpoint, q room.RelationQuery) error {
	found := map[quinta.MessageID]*room.Event{}
	level := []quinta.MessageID{q.To}
	for depth := 0; depth < maxRecursion && len(level) > 0; depth++ {
		var next []quinta.MessageID
		for _, id := range level {
			deeper := q
			// The filters of the request apply to the events at the top;
			// below, relations of any kind are followed.
			deeper.To, deeper.RelType, deeper.Type, deeper.Limit = id, "", "", roomview.MaxRelations
			list, _, err := room.Relations(tx, deeper)
			if err != nil {
				return err
			}
			for _, e := range list {
				if found[e.ID] == nil && len(found) < roomview.MaxRelations {
					found[e.ID] = e
					next = append(next, e.ID)
				}
			}
		}
		level = next
	}
	list := make([]*room.Event, 0, len(found))
	for _, e := range found {
		if (q.RelType == "" || e.RelType == q.RelType) && (q.Type == "" || e.Type == q.Type) {
			list = append(list, e)
		}
	}
	sortEvents(list, q.Forward)
	more := len(list) > q.Limit
	if more {
		list = list[:q.Limit]
	}
	return c.writeRelations(tx, out, v, q, list, more)
}

// getThreads: "GET /_matrix/client/v1/rooms/{roomId}/threads".
func (c *call) getThreads() (any, error) {
	limit, err := c.paramInt("limit", defaultPage, 1, maxRelations)
	if err != nil {
		return nil, err
	}
	mine := false
	switch c.param("include") {
	case "", "all":
	case "participated":
		mine = true
	default:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "include must be all or participated")
	}
	from, err := c.paramToken("from", 1<<62)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		roots, next, err := c.threads(tx, v, mine, from, int(limit))
		if err != nil {
			return err
		}
		if next > 0 {
			out["next_batch"] = sync.Token(next)
		}
		out["chunk"], err = c.reader(v.Sight).RenderAll(tx, roots)
		return err
	})
	return out, err
}

// threads returns the roots of a page of threads, the one with the newest
// event first, and where the next page begins, 0 if there is none.
func (c *call) threads(tx *db.Tx, v *roomview.Viewpoint, mine bool, from quinta.Pos, limit int) ([]*room.Event, quinta.Pos, error) {
	var out []*room.Event
	for looked := 0; looked < maxLooked; {
		roots, more, err := room.Roots(tx, c.roomID(), "m.thread", from, limit)
		if err != nil {
			return nil, 0, err
		}
		looked += len(roots)
		for i, r := range roots {
			from = r.Last
			e, err := c.threadRoot(tx, v, r.ID, mine)
			if err != nil {
				return nil, 0, err
			}
			if e != nil {
				out = append(out, e)
			}
			if len(out) == limit {
				if more || i < len(roots)-1 {
					return out, from, nil
				}
				return out, 0, nil
			}
		}
		if !more {
			return out, 0, nil
		}
	}
	return out, from, nil
}

// threadRoot returns the event at the root of a thread if the caller may read
// it, and, with mine, has taken part in the thread; else nil.
func (c *call) threadRoot(tx *db.Tx, v *roomview.Viewpoint, id quinta.MessageID, mine bool) (*room.Event, error) {
	e, err := room.ByID(tx, c.roomID(), id)
	if err != nil {
		if quinta.KindOf(err) == quinta.KindNotFound {
			err = nil
		}
		return nil, err
	}
	if !v.Sees(e) {
		return nil, nil
	}
	if mine && e.Sender != c.user {
		_, took, err := room.CountRelations(tx, c.roomID(), id, "m.thread", c.user)
		if err != nil || !took {
			return nil, err
		}
	}
	return e, nil
}
