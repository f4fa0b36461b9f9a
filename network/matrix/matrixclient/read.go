package matrixclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.Reader = (*Session)(nil)

// Read implements client.Reader.
func (s *Session) Read(ctx context.Context, room quinta.RoomID, q timeline.Query) ([]timeline.Item, error) {
	var items []timeline.Item
	err := s.st.View(ctx, func(tx e2ee.Tx) (err error) {
		items, err = timeline.Read(tx, room, q)
		return err
	})
	return items, err
}

// maxPage is how many messages one request for older ones asks for.
const maxPage = 100

// History implements client.Reader. A gap that a sync left is filled first,
// from its newer end. The messages are for Read, and are not passed to Run's
// function.
func (s *Session) History(ctx context.Context, room quinta.RoomID, limit int) (more bool, err error) {
	if limit <= 0 {
		limit = maxPage
	}
	for limit > 0 {
		n, more, err := s.page(ctx, room, min(limit, maxPage), true)
		if err != nil || !more {
			return more, err
		}
		// A page of which nothing is shown counts too, so that there is an end.
		limit -= max(n, 1)
	}
	return true, nil
}

// page takes in one page of older messages, which are quiet if they are
// history and not something that was missed.
func (s *Session) page(ctx context.Context, room quinta.RoomID, limit int, quiet bool) (n int, more bool, err error) {
	const op = "asking for older messages"
	var r roomRecord
	if err := s.st.View(ctx, func(tx e2ee.Tx) (err error) { r, err = loadRoom(tx, room); return err }); err != nil {
		return 0, false, err
	}
	if len(r.Gaps) == 0 {
		if r.Begun {
			return 0, false, nil
		}
		return 0, false, quinta.E(quinta.KindNotFound, op, "the room is not known on this device")
	}
	from := r.Gaps[len(r.Gaps)-1]
	q := url.Values{"dir": {"b"}, "from": {from}, "limit": {strconv.Itoa(limit)}, "filter": {`{"lazy_load_members":true}`}}
	a, err := s.link.call(ctx, op, request{method: http.MethodGet, path: path("rooms", string(room), "messages") + "?" + q.Encode(), max: maxLarge})
	if err != nil {
		return 0, false, err
	}
	var v wire.Messages[json.RawMessage]
	if err := a.decode(op, &v); err != nil {
		return 0, false, err
	}
	if len(v.End) > 4096 || v.End == from {
		v.End = "" // a position that does not move is the end
	}
	err = s.do(ctx, quiet, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		unknown, err := s.moveGap(tx, room, from, v.End, v.Chunk)
		if err != nil {
			return nil, err
		}
		return s.machine.Read(tx, room, unknown)
	})
	if err != nil {
		return 0, false, err
	}
	err = s.st.View(ctx, func(tx e2ee.Tx) error {
		r, err := loadRoom(tx, room)
		more = len(r.Gaps) > 0
		return err
	})
	return len(v.Chunk), more, err
}

// moveGap notes how far a gap was filled: it ends where a known message is. It
// returns the events that are not known yet.
func (s *Session) moveGap(tx e2ee.Tx, room quinta.RoomID, from, end string, chunk []json.RawMessage) (unknown []json.RawMessage, err error) {
	r, err := loadRoom(tx, room)
	if err != nil {
		return nil, err
	}
	met := false
	for _, raw := range chunk {
		var e struct {
			ID quinta.MessageID `json:"event_id"`
		}
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		known, err := isKnown(tx, room, e.ID)
		if err != nil {
			return nil, err
		}
		met = met || known
		if !known {
			unknown = append(unknown, raw)
		}
	}
	i := slices.Index(r.Gaps, from)
	if i < 0 {
		return unknown, nil // someone else filled it
	}
	switch {
	case met && i > 0:
		r.Gaps = slices.Delete(r.Gaps, i, i+1)
	case end == "":
		// The beginning of the room: nothing older is unknown.
		r.Gaps, r.Begun = slices.Delete(r.Gaps, 0, i+1), len(r.Gaps) == i+1
	default:
		r.Gaps[i] = end
	}
	return unknown, seat.Store(tx, keyRoom+string(room), r)
}

// isKnown reports whether a message was received before. Edits, reactions and
// redactions are not items of the timeline by themselves: commit records
// them.
func isKnown(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) (bool, error) {
	_, err := timeline.Get(tx, room, id)
	if quinta.KindOf(err) != quinta.KindNotFound {
		return err == nil, err
	}
	b, err := tx.Get(keySeen + string(room) + "\x00" + string(id))
	return b != nil, err
}

// commit keeps what a step brought, in the step's transaction.
func commit(tx e2ee.Tx, events []e2ee.Event) error {
	kept := make([]e2ee.Event, 0, len(events))
	for _, e := range events {
		if e.Kind == e2ee.EventSent && ofVerification(e.Message) {
			continue // it was never something to be read
		}
		kept = append(kept, e)
		switch m := e.Message; m.Relation.Kind {
		case quinta.RelationReplace, quinta.RelationReaction, quinta.RelationRedaction:
			if err := tx.Put(keySeen+string(m.Room)+"\x00"+string(m.ID), []byte{1}); err != nil {
				return err
			}
		}
	}
	return timeline.Apply(tx, kept)
}

// fillPages bounds how much of one gap is fetched by itself.
const fillPages = 20

// fillGaps fetches what syncs left out, while the session runs, so that a
// program misses nothing that was said while it was away.
func (s *Session) fillGaps(ctx context.Context) {
	tried := map[string]int{}
	for {
		rooms, err := s.gaps(ctx)
		for _, g := range rooms {
			for err == nil && tried[g.key] < fillPages && ctx.Err() == nil {
				tried[g.key]++
				var open bool
				if open, err = s.fill(ctx, g.room); !open {
					break
				}
			}
		}
		if err != nil && ctx.Err() == nil {
			s.runner.Troubled(err, 0)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.gapped:
		}
	}
}

// A gap is a room in which messages are missing, under a key that stays while
// the gap is being filled.
type gap struct {
	room quinta.RoomID
	key  string
}

// gaps lists the rooms with a gap between messages that are known.
func (s *Session) gaps(ctx context.Context) ([]gap, error) {
	var out []gap
	err := s.st.View(ctx, func(tx e2ee.Tx) error {
		for e, err := range tx.All(keyRoom) {
			if err != nil {
				return err
			}
			var r roomRecord
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return err
			}
			if len(r.Gaps) > 1 {
				id := quinta.RoomID(strings.TrimPrefix(e.Key, keyRoom))
				out = append(out, gap{id, string(id) + "\x00" + strconv.Itoa(len(r.Gaps))})
			}
		}
		return nil
	})
	return out, err
}

// fill takes in a page of the newest gap of a room and reports whether the
// gap is still open.
func (s *Session) fill(ctx context.Context, room quinta.RoomID) (open bool, err error) {
	before, err := s.gapCount(ctx, room)
	if err != nil || before < 2 {
		return false, err
	}
	if _, _, err := s.page(ctx, room, maxPage, false); err != nil {
		return false, err
	}
	after, err := s.gapCount(ctx, room)
	return after == before, err
}

func (s *Session) gapCount(ctx context.Context, room quinta.RoomID) (n int, err error) {
	err = s.st.View(ctx, func(tx e2ee.Tx) error {
		r, err := loadRoom(tx, room)
		n = len(r.Gaps)
		return err
	})
	return n, err
}

// MarkRead implements client.Reader.
func (s *Session) MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error {
	left := false
	if err := s.st.View(ctx, func(tx e2ee.Tx) error {
		own, err := loadRoom(tx, room)
		left = own.Standing == "leave"
		return err
	}); err != nil || left {
		return err
	}
	return s.link.ask(ctx, "marking as read", http.MethodPost, path("rooms", string(room), "receipt", "m.read", string(id)), struct{}{}, nil)
}
