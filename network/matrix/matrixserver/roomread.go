package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/sync"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomReadCalls() {
	s.client(http.MethodGet, "/rooms/{roomId}/messages", endpoint{rate: rateRead, handle: (*call).getMessages})
	s.client(http.MethodGet, "/rooms/{roomId}/context/{eventId}", endpoint{rate: rateRead, handle: (*call).getContext})
	s.client(http.MethodGet, "/rooms/{roomId}/event/{eventId}", endpoint{rate: rateRead, handle: (*call).getEvent})
	s.at(http.MethodGet, "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", endpoint{rate: rateRead, handle: (*call).getTimestampToEvent})
}

// Bounds of the pages of GET messages.
const (
	defaultPage = 10
	maxPage     = 1000
	// maxLooked bounds how many events one call looks at to fill a page that
	// a filter or the history visibility leaves thin.
	maxLooked = 5000
)

// A page is a part of a room's log as one reader gets it.
type page struct {
	events []*room.Event
	// end is where the next page begins; more says that there is one.
	end  quinta.Pos
	more bool
}

// turn reads a page from from, back or forth, up to to. The first query asks
// for what is wanted; if that was not all to be given, the next ones ask for
// more at a time.
func turn(tx *db.Tx, id quinta.RoomID, s *roomview.Sight, f *filter.RoomEvents, back bool, from, to quinta.Pos, limit int) (*page, error) {
	p := &page{end: from}
	n := limit
	for looked := 0; len(p.events) < limit && looked < maxLooked; n = 250 {
		var list []*room.Event
		var err error
		if back {
			list, p.more, err = room.Backward(tx, id, room.Range{From: to, To: p.end}, n)
		} else {
			list, p.more, err = room.Forward(tx, id, room.Range{From: p.end, To: to}, n)
		}
		if err != nil {
			return nil, err
		}
		looked += len(list)
		kept, err := passing(tx, f, s.Visible(list))
		if err != nil {
			return nil, err
		}
		if rest := limit - len(p.events); len(kept) > rest {
			// The page ends within what was read.
			kept, p.more = kept[:rest], true
			list = []*room.Event{kept[rest-1]}
		}
		p.events = append(p.events, kept...)
		if len(list) > 0 {
			if p.end = list[len(list)-1].Pos; back {
				p.end--
			}
		}
		if !p.more {
			break
		}
	}
	return p, nil
}

// getMessages: "GET /rooms/{roomId}/messages".
func (c *call) getMessages() (any, error) {
	back := c.param("dir") == "b"
	if !back && c.param("dir") != "f" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "dir must be b or f")
	}
	limit, err := c.paramInt("limit", defaultPage, 0, maxPage)
	if err != nil {
		return nil, err
	}
	start := quinta.Pos(0)
	stop := quinta.Pos(1 << 62)
	if back {
		start, stop = stop, start
	}
	from, err := c.paramToken("from", start)
	if err != nil {
		return nil, err
	}
	to, err := c.paramToken("to", stop)
	if err != nil {
		return nil, err
	}
	f, err := c.roomFilter()
	if err != nil {
		return nil, err
	}
	var out wire.Messages[*wire.Event]
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		// No one reads events after now, or after they left.
		from, to = min(from, v.Pos), min(to, v.Pos)
		p, err := turn(tx, c.roomID(), v.Sight, f, back, from, to, int(limit))
		if err != nil {
			return err
		}
		out.Start = sync.Token(from)
		if p.more {
			out.End = sync.Token(p.end)
		}
		if out.Chunk, err = c.reader(v.Sight).RenderAll(tx, p.events); err != nil {
			return err
		}
		if f.LazyLoad {
			out.State, err = c.senders(tx, p.events, v.Pos)
		}
		return err
	})
	return out, err
}

// senders returns the memberships, right after pos, of those who sent the
// events.
func (c *call) senders(tx *db.Tx, events []*room.Event, pos quinta.Pos) ([]*wire.Event, error) {
	seen := map[quinta.UserID]bool{}
	var list []*room.Event
	for _, e := range events {
		if seen[e.Sender] {
			continue
		}
		seen[e.Sender] = true
		m, err := room.StateOfAt(tx, c.roomID(), eventauth.TypeMember, string(e.Sender), pos)
		if err != nil {
			return nil, err
		}
		if m != nil {
			list = append(list, m)
		}
	}
	r := &roomview.Reader{User: c.user, Device: c.device, Plain: true, Bare: true}
	return r.RenderAll(tx, list)
}

var errNoEvent = wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such event, or you may not read it")

// readable returns the event of the path if the caller may read it.
func (c *call) readable(tx *db.Tx) (*room.Event, *roomview.Sight, error) {
	s, err := roomview.SightOf(tx, c.roomID(), c.user)
	if err != nil {
		return nil, nil, err
	}
	e, err := room.ByID(tx, c.roomID(), quinta.MessageID(c.path("eventId")))
	if err != nil && quinta.KindOf(err) == quinta.KindNotFound {
		return nil, nil, errNoEvent
	}
	if err != nil {
		return nil, nil, err
	}
	if !s.Sees(e) {
		return nil, nil, errNoEvent
	}
	return e, s, nil
}

// getEvent: "GET /rooms/{roomId}/event/{eventId}".
func (c *call) getEvent() (any, error) {
	var out *wire.Event
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		e, s, err := c.readable(tx)
		if err != nil {
			return err
		}
		out, err = c.reader(s).Render(tx, e)
		return err
	})
	return out, err
}

// getContext: "GET /rooms/{roomId}/context/{eventId}".
func (c *call) getContext() (any, error) {
	limit, err := c.paramInt("limit", defaultPage, 0, maxPage)
	if err != nil {
		return nil, err
	}
	f, err := c.roomFilter()
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		e, _, err := c.readable(tx)
		if err != nil {
			return err
		}
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		half := int(limit) / 2
		before, err := turn(tx, c.roomID(), v.Sight, f, true, e.Pos-1, 0, half)
		if err != nil {
			return err
		}
		after, err := turn(tx, c.roomID(), v.Sight, f, false, e.Pos, v.Pos, int(limit)-half)
		if err != nil {
			return err
		}
		return c.writeContext(tx, out, v, f, e, before, after)
	})
	return out, err
}

// writeContext fills the answer of GET context.
func (c *call) writeContext(tx *db.Tx, out map[string]any, v *roomview.Viewpoint, f *filter.RoomEvents, e *room.Event, before, after *page) error {
	r := c.reader(v.Sight)
	var err error
	if out["event"], err = r.Render(tx, e); err != nil {
		return err
	}
	if out["events_before"], err = r.RenderAll(tx, before.events); err != nil {
		return err
	}
	if out["events_after"], err = r.RenderAll(tx, after.events); err != nil {
		return err
	}
	out["start"], out["end"] = sync.Token(before.end), sync.Token(after.end)
	last := e
	if n := len(after.events); n > 0 {
		last = after.events[n-1]
	}
	if f.LazyLoad {
		all := append(append([]*room.Event{e}, before.events...), after.events...)
		state, err := room.StateAt(tx, c.roomID(), last.Pos)
		if err != nil {
			return err
		}
		senders, err := c.senders(tx, all, last.Pos)
		if err != nil {
			return err
		}
		rest := state[:0]
		for _, s := range state {
			if s.Type != eventauth.TypeMember {
				rest = append(rest, s)
			}
		}
		others, err := r.RenderAll(tx, rest)
		out["state"] = append(others, senders...)
		return err
	}
	state, err := room.StateAt(tx, c.roomID(), last.Pos)
	if err != nil {
		return err
	}
	out["state"], err = r.RenderAll(tx, state)
	return err
}

// getTimestampToEvent: "GET /rooms/{roomId}/timestamp_to_event".
func (c *call) getTimestampToEvent() (any, error) {
	back := c.param("dir") == "b"
	if !back && c.param("dir") != "f" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "dir must be b or f")
	}
	if c.param("ts") == "" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which ts?")
	}
	ts, err := c.paramInt("ts", 0, 0, 1<<53)
	if err != nil {
		return nil, err
	}
	var found *room.Event
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		e, err := room.Nearest(tx, c.roomID(), ts, back)
		if err != nil {
			return err
		}
		if e == nil || !v.Sees(e) {
			return errNoEvent
		}
		found = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wire.EventAt{EventAnswer: wire.EventAnswer{Event: found.ID}, Time: found.Time}, nil
}
