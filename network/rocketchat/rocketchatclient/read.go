package rocketchatclient

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

var _ client.Reader = (*Session)(nil)

// roomRecord is what this package keeps of a room.
type roomRecord struct {
	// Before is from where history goes back, 0 for the end; Begun says that there
	// is nothing older.
	Before rocketchat.Date `json:"before,omitempty"`
	Begun  bool            `json:"begun,omitempty"`
}

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

// History implements client.Reader. The messages are for Read, and are not passed
// to Run's function.
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

func (s *Session) page(ctx context.Context, id quinta.RoomID, limit int) (n int, more bool, err error) {
	const op = "asking for older messages"
	r, err := s.room(ctx, id)
	if err != nil {
		return 0, false, errorOf(op, err)
	}
	var own roomRecord
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		own, _, err = e2ee.Load[roomRecord](tx, keyRoom+string(id))
		return err
	}); err != nil {
		return 0, false, err
	}
	if own.Begun {
		return 0, false, nil
	}
	q := url.Values{"roomId": {string(id)}, "count": {strconv.Itoa(limit)}}
	if own.Before != 0 {
		q.Set("latest", own.Before.Time().Format(time.RFC3339Nano))
	}
	call := map[string]string{"d": "im.history", "p": "groups.history", "c": "channels.history"}[r.Type]
	var a struct {
		Messages []rocketchat.Message `json:"messages"`
	}
	if err := s.link.get(ctx, op, call, q, &a); err != nil {
		return 0, false, err
	}
	next := roomRecord{Before: own.Before, Begun: len(a.Messages) < limit}
	for _, m := range a.Messages {
		if m.Room != id || own.Before != 0 && m.TS > own.Before {
			return 0, false, quinta.E(quinta.KindMalformed, op, "the server's page of history does not go further back")
		}
		if next.Before == 0 || m.TS < next.Before {
			next.Before = m.TS
		}
	}
	slices.Reverse(a.Messages)
	err = s.do(ctx, true, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		if err := e2ee.Store(tx, keyRoom+string(id), next); err != nil {
			return nil, err
		}
		return s.machine.Receive(tx, rocketchat.In{Messages: a.Messages})
	})
	return len(a.Messages), !next.Begun, errorOf(op, err)
}

// MarkRead implements client.Reader. The network knows only that a room was read
// up to now.
func (s *Session) MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error {
	const op = "marking as read"
	r, err := s.room(ctx, room)
	if err != nil {
		return errorOf(op, err)
	}
	if r.Left {
		return nil
	}
	if err := s.look(ctx, func(tx e2ee.Tx) error { _, err := timeline.Get(tx, room, id); return err }); err != nil {
		return err
	}
	return s.link.post(ctx, op, "subscriptions.read", object{"rid": room}, nil)
}
