// Package sync answers the most important call of clients: what has happened
// for one device since it last asked (client-server API, "Syncing").
//
// [Device.Sync] looks at one snapshot of the store and waits if there is
// nothing; a [Query] is what the client asks for, already read from the
// request, and a [Place] the token at the end of an answer. [DeviceLists] says
// whose devices have changed. Nothing here writes except the acknowledgement
// of messages, and the calls are not here.
package sync

import (
	"context"
	"encoding/json"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/room"
)

// network is the network that the sets know the device by.
const network = wire.Network

const (
	// MaxWait bounds how long a sync waits, whatever the client asks for.
	MaxWait = 5 * time.Minute
	// lookAgain is how often a sync that waits looks without having been
	// woken, where the word of another node may have been lost.
	lookAgain = 15 * time.Second
	// lastLook bounds the look that ends a sync in vain.
	lastLook = time.Minute
)

// Notices is what a sync asks about a user's push rules.
type Notices interface {
	// Rules returns the content of m.push_rules, and the position of its last
	// change.
	Rules(tx *db.Tx, user quinta.UserID) (any, quinta.Pos, error)
	// Unread counts the events of each thread of m's room, up to a position,
	// that m has not read. recent has the newest events, newest first, or is
	// nil; it holds all events after the position after.
	Unread(tx *db.Tx, m room.Member, upTo quinta.Pos, recent []*room.Event, after quinta.Pos) (map[string]wire.UnreadCount, error)
}

// A Device is a device that syncs.
type Device struct {
	Core    *server.Core
	Notices Notices
	User    quinta.UserID
	ID      quinta.DeviceID
	// Valid returns an error if the device's login has ended.
	Valid func() error
}

// A Query is what a client asks for in a sync.
type Query struct {
	// Since is where the sync before ended; Initial says that there was none.
	Since   Place
	Initial bool
	// Full wants the whole state of all rooms.
	Full bool
	// Wait is how long to wait for something to happen, at most MaxWait.
	Wait time.Duration
	// StateAfter wants the state at the end of the timeline, under its stable
	// or its unstable name (MSC4222).
	StateAfter, UnstableAfter bool

	Filter *filter.Filter
	Fields *filter.Fields
}

// Sync returns the answer to a query, as soon as there is something in it. It
// ends with an empty one when the time is up, the server closes, or ctx ends.
func (d *Device) Sync(ctx context.Context, q *Query) (json.RawMessage, error) {
	w := &waiter{Device: d, until: time.Now().Add(q.Wait), keys: []string{feed.User(network, d.User), feed.Device(network, d.User, d.ID)}}
	defer w.stop()
	for {
		// The waiter is there before the look, so nothing that happens
		// after the look goes unheard.
		w.listen()
		a, rooms, acks, err := d.look(ctx, q)
		if err != nil {
			return nil, err
		}
		if acks {
			d.acknowledge(ctx, q.Since.Box)
		}
		if !a.empty() || q.Wait == 0 {
			return a.encode()
		}
		// Up to here there was nothing for this device.
		q.Since = a.next
		a = nil
		again, err := w.sleep(ctx, rooms, q.Since.Pos)
		if err != nil {
			return nil, err
		}
		if !again {
			return d.nothing(ctx, q)
		}
	}
}

// nothing is the answer when nothing has happened. A client that went away
// gets it too: it may have closed only its half of the connection.
func (d *Device) nothing(ctx context.Context, q *Query) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	a := &answer{next: q.Since}
	err := d.Core.View(ctx, func(tx *db.Tx) error {
		return (&look{Device: d, q: q, tx: tx, answer: a}).keyCounts()
	})
	if err != nil {
		return nil, err
	}
	return a.encode()
}

// acknowledge notes that the device has stored its messages up to a position.
// If that fails they only stay a while longer, since the token says where the
// device is; it must still be able to read, say when the disk is full.
func (d *Device) acknowledge(ctx context.Context, upTo quinta.Pos) {
	err := d.Core.UpdateAlways(ctx, func(tx *db.Tx) error { return mailbox.Ack(tx, network, d.User, d.ID, upTo) })
	if err != nil && ctx.Err() == nil {
		d.Core.Log.Warn("matrix: an acknowledgement of messages was not stored", "err", err)
	}
}
