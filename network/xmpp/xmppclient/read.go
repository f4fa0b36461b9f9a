package xmppclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
)

var _ client.Reader = (*Session)(nil)

// Read implements client.Reader.
func (s *Session) Read(ctx context.Context, room quinta.RoomID, q timeline.Query) (items []timeline.Item, err error) {
	err = s.look(ctx, "reading", func(tx e2ee.Tx) (err error) {
		items, err = timeline.Read(tx, room, q)
		return err
	})
	return items, err
}

// History implements client.Reader. Whatever the archive of the account has is
// read when the session runs, from its beginning on: there is nothing older.
func (s *Session) History(ctx context.Context, room quinta.RoomID, _ int) (bool, error) {
	return false, s.look(ctx, "asking for older messages", func(tx e2ee.Tx) error {
		_, err := s.machine.Room(tx, room)
		return err
	})
}

// MarkRead implements client.Reader. The network has no receipts, so nothing
// is sent.
func (s *Session) MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error {
	return s.look(ctx, "marking as read", func(tx e2ee.Tx) error {
		_, err := timeline.Get(tx, room, id)
		return err
	})
}
