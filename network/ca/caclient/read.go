package caclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

var _ client.Reader = (*Session)(nil)

// Read implements client.Reader.
func (s *Session) Read(ctx context.Context, room quinta.RoomID, q timeline.Query) ([]timeline.Item, error) {
	var items []timeline.Item
	err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		items, err = timeline.Read(tx, room, q)
		return err
	})
	return items, err
}

// maxPage is how many messages one request for older ones asks for.
const maxPage = 100

// History implements client.Reader. It goes back from the newest message to
// the point where this account joined the conversation. The messages are for
// Read, and are not passed to Run's function.
func (s *Session) History(ctx context.Context, room quinta.RoomID, limit int) (more bool, err error) {
	if limit <= 0 {
		limit = maxPage
	}
	for limit > 0 {
		n, more, err := s.page(ctx, room, min(limit, maxPage))
		if err != nil || !more {
			return more, err
		}
		limit -= max(n, 1)
	}
	return true, nil
}

// page takes in one page of older messages.
func (s *Session) page(ctx context.Context, room quinta.RoomID, limit int) (n int, more bool, err error) {
	const op = "asking for older messages"
	var own roomRecord
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		if _, err := s.machine.Room(tx, room); err != nil {
			return err
		}
		own, err = loadRoom(tx, room)
		return err
	}); err != nil {
		return 0, false, errorOf(op, err)
	}
	if own.Begun {
		return 0, false, nil
	}
	var h wire.History
	if err := s.link.ask(ctx, op, historyRequest(room, own.Before, limit), nil, &h); err != nil {
		return 0, false, err
	}
	if own.Before != 0 && h.Before >= own.Before || len(h.Items) > wire.MaxLimit {
		return 0, false, quinta.E(quinta.KindMalformed, op, "the server's page of history does not go further back")
	}
	for i := range h.Items {
		h.Items[i].Conv = room
	}
	err = s.do(ctx, true, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		r, err := loadRoom(tx, room)
		if err != nil {
			return nil, err
		}
		r.Before, r.Begun = h.Before, h.Before == 0
		if err := seat.Store(tx, keyRoom+string(room), r); err != nil {
			return nil, err
		}
		return s.machine.History(tx, room, h)
	})
	return len(h.Items), h.Before != 0, errorOf(op, err)
}

// MarkRead implements client.Reader. The network has no receipts, so nothing
// is sent.
func (s *Session) MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error {
	return s.look(ctx, func(tx e2ee.Tx) error {
		_, err := timeline.Get(tx, room, id)
		return err
	})
}
