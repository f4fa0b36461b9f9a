package matrixserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomReceiptCalls() {
	s.client(http.MethodPost, "/rooms/{roomId}/receipt/{receiptType}/{eventId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postReceipt})
	s.client(http.MethodPost, "/rooms/{roomId}/read_markers", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postReadMarkers})
	s.client(http.MethodPut, "/rooms/{roomId}/typing/{userId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putTyping})
}

// postReceipt: "POST /rooms/{roomId}/receipt/{receiptType}/{eventId}".
func (c *call) postReceipt() (any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	kind := c.path("receiptType")
	id := quinta.MessageID(c.path("eventId"))
	thread := ""
	if raw, ok := wire.Member(body, "thread_id"); ok {
		if json.Unmarshal(raw, &thread) != nil || thread == "" || len(thread) > wire.MaxID || !plain(thread) || string(raw) == "null" {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "thread_id must be main or the id of an event")
		}
	}
	switch kind {
	case wire.ReceiptRead, wire.ReceiptPrivate:
	case wire.DataFullyRead:
		if thread != "" {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "m.fully_read cannot have a thread")
		}
	default:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "there is no such kind of receipt")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := c.inRoom(tx); err != nil {
			return err
		}
		return c.mark(tx, kind, id, thread)
	})
}

// inRoom refuses a caller who is not in the room of the path.
func (c *call) inRoom(tx *db.Tx) error {
	m, err := room.MemberOf(tx, c.roomID(), c.user)
	if err == nil && m.Membership != room.Join {
		err = roomview.ErrNotMember
	}
	return err
}

// mark keeps one receipt or read marker of the caller. One for an event that
// they cannot read is refused.
func (c *call) mark(tx *db.Tx, kind string, id quinta.MessageID, thread string) error {
	e, err := room.ByID(tx, c.roomID(), id)
	if err != nil {
		return err
	}
	s, err := roomview.SightOf(tx, c.roomID(), c.user)
	if err != nil {
		return err
	}
	if !s.Sees(e) {
		return errNoEvent
	}
	if kind == wire.DataFullyRead {
		raw, err := canonicalJSON(map[string]any{"event_id": id})
		if err != nil {
			return err
		}
		return putData(tx, c.user, string(c.roomID()), wire.DataFullyRead, raw)
	}
	if err := inThread(tx, e, thread); err != nil {
		return err
	}
	kept, err := room.PutReceipt(tx, &room.Receipt{Room: c.roomID(), Member: c.user, Kind: kind, Thread: thread, Event: id, Upto: e.Pos})
	if err != nil || !kept {
		return err
	}
	// The reader's own counts change with a private receipt as well.
	feed.Bump(tx, feed.User(network, c.user))
	if kind == wire.ReceiptRead {
		feed.Bump(tx, feed.Room(network, c.roomID()))
	}
	return nil
}

// maxRelated bounds how far an event's relations are followed to a thread.
const maxRelated = 3

// inThread refuses a receipt for an event that is not in the thread. What belongs to
// another event, such as a reaction, is in the thread of that one. So a reader has
// no more receipts than the room has events.
func inThread(tx *db.Tx, e *room.Event, thread string) error {
	if thread == "" || thread == wire.ThreadMain && e.RelType != "m.thread" {
		return nil
	}
	for range maxRelated {
		if string(e.ID) == thread || e.RelType == "m.thread" && string(e.RelTo) == thread {
			return nil
		}
		if e.RelType == "" || e.RelType == "m.thread" {
			break
		}
		to, err := room.ByID(tx, e.Room, e.RelTo)
		if err != nil && quinta.KindOf(err) == quinta.KindNotFound {
			break
		}
		if err != nil {
			return err
		}
		e = to
	}
	return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the event is not in this thread")
}

// postReadMarkers: "POST /rooms/{roomId}/read_markers".
func (c *call) postReadMarkers() (any, error) {
	var q map[string]json.RawMessage
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	type mark struct {
		kind string
		id   quinta.MessageID
	}
	var marks []mark
	for _, kind := range []string{wire.DataFullyRead, wire.ReceiptRead, wire.ReceiptPrivate} {
		raw, ok := q[kind]
		if !ok {
			continue
		}
		var id quinta.MessageID
		if err := decode(raw, &id); err != nil {
			return nil, err
		}
		if id != "" {
			marks = append(marks, mark{kind, id})
		}
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := c.inRoom(tx); err != nil {
			return err
		}
		for _, m := range marks {
			if !plain(string(m.id)) {
				return errNoEvent
			}
			if err := c.mark(tx, m.kind, m.id, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxTyping bounds how long one notice of typing lasts.
const maxTyping = 2 * time.Minute

// putTyping: "PUT /rooms/{roomId}/typing/{userId}".
func (c *call) putTyping() (any, error) {
	if err := c.mine(); err != nil {
		return nil, err
	}
	var q struct {
		Typing  *bool `json:"typing"`
		Timeout int64 `json:"timeout"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Typing == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "typing must be true or false")
	}
	lasts := time.Duration(0)
	if *q.Typing {
		lasts = 30 * time.Second
		if q.Timeout > 0 {
			lasts = time.Duration(min(q.Timeout, maxTyping.Milliseconds())) * time.Millisecond
		}
	}
	err := c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := c.inRoom(tx); err != nil {
			return err
		}
		until := int64(0)
		if lasts > 0 {
			until = tx.Millis() + lasts.Milliseconds()
		}
		seen, err := room.SetTyping(tx, c.roomID(), c.user, until)
		if seen {
			feed.Bump(tx, feed.Room(network, c.roomID()))
		}
		return err
	})
	if err == nil && lasts > 0 {
		c.typing.after(lasts)
	}
	return empty{}, err
}

// A typingClock ends typing notices that have expired, so that those who wait see
// the end without asking.
type typingClock struct {
	s      *homeserver
	mu     sync.Mutex
	timers map[*time.Timer]struct{}
	closed bool
}

// newTypingClock also ends what the process before this one left behind.
func newTypingClock(s *homeserver) *typingClock {
	t := &typingClock{s: s, timers: map[*time.Timer]struct{}{}}
	t.after(0)
	t.after(maxTyping)
	return t
}

// after looks for expired typing notices once d has passed.
func (t *typingClock) after(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d+10*time.Millisecond, func() {
		t.mu.Lock()
		_, live := t.timers[timer]
		delete(t.timers, timer)
		t.mu.Unlock()
		if live {
			t.end()
		}
	})
	t.timers[timer] = struct{}{}
}

// end ends expired notices and wakes the rooms.
func (t *typingClock) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := t.s.Update(ctx, func(tx *db.Tx) error {
		rooms, err := room.EndTyping(tx)
		for _, id := range rooms {
			feed.Bump(tx, feed.Room(network, id))
		}
		return err
	})
	if err != nil && quinta.KindOf(err) != quinta.KindUnavailable && !errors.Is(err, context.DeadlineExceeded) {
		t.s.Log.Warn("matrix: the end of a typing notice was not stored", "err", err)
	}
}

// close forgets all timers.
func (t *typingClock) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for timer := range t.timers {
		timer.Stop()
	}
	clear(t.timers)
}
