package sync

import (
	"context"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// errFuture is the answer to a token of a time that has not come: it is from
// another server, or from before the store was restored from a backup.
var errFuture = wire.NewError(http.StatusBadRequest, wire.CodeUnknownPos, "the token is from the future: sync without one")

// A look is one look at a snapshot of the store.
type look struct {
	*Device
	q      *Query
	tx     *db.Tx
	now    quinta.Pos
	answer *answer

	// joined are the rooms that the user is in, changed those of them with
	// events, receipts or typing after q.Since.
	joined, changed []quinta.RoomID
	// ignored are the users whose events and invitations are not wanted.
	ignored map[quinta.UserID]bool
	// data is the account data of rooms that changed.
	data map[quinta.RoomID][]any
}

// look gathers what there is for the device in one snapshot of the
// store. rooms are those that it is joined to; acks says that messages were
// acknowledged by the query.
func (d *Device) look(ctx context.Context, q *Query) (a *answer, rooms []quinta.RoomID, acks bool, err error) {
	err = d.Core.View(ctx, func(tx *db.Tx) error {
		now, err := tx.Pos()
		if err != nil {
			return err
		}
		if q.Since.Pos > now {
			return errFuture
		}
		return tx.Prefetch(func() (err error) {
			if !q.Initial {
				if acks, err = mailbox.Unacked(tx, network, d.User, d.ID, q.Since.Box); err != nil {
					return err
				}
			}
			l := &look{Device: d, q: q, tx: tx, now: now, answer: &answer{next: Place{now, now}}}
			a = l.answer
			if err := l.all(); err != nil {
				return err
			}
			rooms = l.joined
			return nil
		})
	})
	return a, rooms, acks, err
}

// all gathers everything.
func (l *look) all() error {
	steps := []func() error{l.toDevice, l.accountData, l.rooms, l.deviceLists, l.keyCounts}
	if !l.q.Initial && !l.q.Full && l.q.Since.Pos == l.now {
		// Nothing at all was written since: only what is left of the
		// mailbox, and the rooms to wait for.
		steps = []func() error{l.toDevice, l.roomsToFollow, l.keyCounts}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// toDevicePage is how many messages to the device one sync gives.
const toDevicePage = 100

// toDevice gives the oldest messages that the device has not acknowledged.
func (l *look) toDevice() error {
	page, more, err := mailbox.Read(l.tx, network, l.User, l.ID, l.q.Since.Box, toDevicePage)
	if err != nil {
		return err
	}
	l.answer.toDevice = page
	if more {
		l.answer.next.Box = page[len(page)-1].Pos
	}
	return nil
}
