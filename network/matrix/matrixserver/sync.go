package matrixserver

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

func (s *homeserver) syncCalls() {
	s.client(http.MethodGet, "/sync", endpoint{long: true, handle: (*call).getSync})
}

const (
	// maxSyncWait bounds how long a sync waits, whatever the client asks for.
	maxSyncWait = 5 * time.Minute
	// syncLookAgain is how often a sync that waits looks without having been
	// woken, where the word of another node may have been lost.
	syncLookAgain = 15 * time.Second
)

// The rates of syncs, per user. The first one of a device costs as much as a
// hundred others.
var (
	rateSync      = server.Rate{Every: 20 * time.Millisecond, Burst: 500}
	rateFirstSync = server.Rate{Every: time.Second, Burst: 60}
)

// A syncQuery is what a client asks of a sync.
type syncQuery struct {
	// since is where the sync before ended; initial says that there was none.
	since   place
	initial bool
	// full wants the whole state of all rooms.
	full bool
	wait time.Duration
	// stateAfter wants the state at the end of the timeline, under its stable
	// or its unstable name (MSC4222).
	stateAfter, unstableAfter bool

	filter *filter.Filter
	fields *filter.Fields
}

// syncQuery reads the parameters. set_presence is not looked at: there is no
// presence.
func (c *call) syncQuery() (*syncQuery, error) {
	q := &syncQuery{initial: c.param("since") == "", full: c.param("full_state") == "true",
		stateAfter: c.param("use_state_after") == "true", unstableAfter: c.param("org.matrix.msc4222.use_state_after") == "true"}
	var err error
	if !q.initial {
		if q.since, err = parsePlace(c.param("since")); err != nil {
			return nil, err
		}
	}
	ms, err := c.paramInt("timeout", 0, 0, int64(maxSyncWait/time.Millisecond))
	if err != nil {
		return nil, err
	}
	if !q.initial && !q.full {
		q.wait = time.Duration(ms) * time.Millisecond
	}
	if q.filter, err = c.syncFilter(); err != nil {
		return nil, err
	}
	q.fields, err = filter.ParseFields(q.filter.Fields)
	return q, err
}

// getSync: "GET /sync".
func (c *call) getSync() (any, error) {
	q, err := c.syncQuery()
	if err != nil {
		return nil, err
	}
	what, rate := "sync", rateSync
	if q.initial || q.full {
		what, rate = "first-sync", rateFirstSync
	}
	if err := limited(c.Limits.Allow(what, server.ByUser(network, c.user), rate, 1)); err != nil {
		return nil, err
	}
	w := &syncWait{call: c, until: time.Now().Add(q.wait), keys: []string{feed.User(network, c.user), feed.Device(network, c.user, c.device)}}
	defer w.stop()
	for {
		// The waiter is there before the look, so nothing that happens
		// after the look goes unheard.
		w.listen()
		a, rooms, acks, err := c.lookForSync(q)
		if err != nil {
			return nil, err
		}
		if acks {
			c.acknowledge(q.since.box)
		}
		if !a.empty() || q.wait == 0 {
			return a.encode()
		}
		// Up to here there was nothing for this device.
		q.since = a.next
		a = nil
		again, err := w.sleep(rooms, q.since.pos)
		if err != nil {
			return nil, err
		}
		if !again {
			return c.emptySync(q)
		}
	}
}

// emptySync is the answer when nothing has happened. A client that went away
// gets it too: it may have closed only its half of the connection.
func (c *call) emptySync(q *syncQuery) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), callTimeout)
	defer cancel()
	a := &syncAnswer{next: q.since}
	err := c.View(ctx, func(tx *db.Tx) error {
		return (&syncLook{call: c, q: q, tx: tx, answer: a}).keyCounts()
	})
	if err != nil {
		return nil, err
	}
	return a.encode()
}

// acknowledge notes that the device has stored its messages up to a position.
// If that fails they only stay a while longer, since the token says where the
// device is; it must still be able to read, say when the disk is full.
func (c *call) acknowledge(upTo quinta.Pos) {
	err := c.Update(c.ctx(), func(tx *db.Tx) error { return mailbox.Ack(tx, network, c.user, c.device, upTo) })
	if err != nil && c.ctx().Err() == nil {
		c.Log.Warn("matrix: an acknowledgement of messages was not stored", "err", err)
	}
}

// A syncWait is a sync that waits for something to happen. It holds as little
// as it can, since most devices do this all the time.
type syncWait struct {
	*call
	until time.Time
	// keys are what the waiter hears of: the account, the device, and the
	// rooms that are known.
	keys []string
	on   *feed.Waiter
}

// listen begins to hear of the keys.
func (w *syncWait) listen() {
	if w.on == nil {
		w.on = w.Hub.Wait(w.keys...)
	}
}

// follow makes the waiter hear of the rooms as well, and reports whether it
// did not before.
func (w *syncWait) follow(rooms []quinta.RoomID) bool {
	had := make(map[string]struct{}, len(w.keys))
	for _, k := range w.keys {
		had[k] = struct{}{}
	}
	fresh := false
	keys := append(make([]string, 0, 2+len(rooms)), w.keys[:2]...)
	for _, id := range rooms {
		k := feed.Room(network, id)
		if _, there := had[k]; !there {
			fresh = true
		}
		keys = append(keys, k)
	}
	if fresh {
		w.stop()
		w.keys = keys
		w.listen()
	}
	return fresh
}

// sleep waits for a wake-up, from the rooms too, and reports whether to look
// again; if not, the time is over.
func (w *syncWait) sleep(rooms []quinta.RoomID, looked quinta.Pos) (bool, error) {
	if w.follow(rooms) {
		// Something may have happened in one of them since the look.
		var now quinta.Pos
		err := w.Peek(w.ctx(), func(tx *db.Tx) (err error) {
			now, err = tx.Pos()
			return err
		})
		if err != nil || now != looked {
			return true, err
		}
	}
	rest := time.Until(w.until)
	if !w.Embedded() && rest > syncLookAgain {
		rest = syncLookAgain
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-w.on.C():
	case <-t.C:
		if time.Until(w.until) <= 0 {
			return false, nil
		}
	case <-w.Draining():
		return false, nil
	case <-w.ctx().Done():
		return false, nil
	}
	// What woke it may have been the end of the login.
	return true, w.authenticate()
}

// stop ends the hearing.
func (w *syncWait) stop() {
	if w.on != nil {
		w.on.Close()
		w.on = nil
	}
}

// errFuture is the answer to a token of a time that has not come: it is from
// another server, or from before the store was restored from a backup.
var errFuture = wire.NewError(http.StatusBadRequest, wire.CodeUnknownPos, "the token is from the future: sync without one")

// lookForSync gathers what there is for the device in one snapshot of the
// store. rooms are those that it is joined to; acks says that messages were
// acknowledged by the query.
func (c *call) lookForSync(q *syncQuery) (a *syncAnswer, rooms []quinta.RoomID, acks bool, err error) {
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		now, err := tx.Pos()
		if err != nil {
			return err
		}
		if q.since.pos > now {
			return errFuture
		}
		return tx.Prefetch(func() (err error) {
			if !q.initial {
				if acks, err = mailbox.Unacked(tx, network, c.user, c.device, q.since.box); err != nil {
					return err
				}
			}
			l := &syncLook{call: c, q: q, tx: tx, now: now, answer: &syncAnswer{next: place{now, now}}}
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

// A syncLook is one look at a snapshot of the store.
type syncLook struct {
	*call
	q      *syncQuery
	tx     *db.Tx
	now    quinta.Pos
	answer *syncAnswer

	// joined are the rooms that the user is in, changed those of them with
	// events, receipts or typing after q.since.
	joined, changed []quinta.RoomID
	// ignored are the users whose events and invitations are not wanted.
	ignored map[quinta.UserID]bool
	// data is the account data of rooms that changed.
	data map[quinta.RoomID][]any
}

// all gathers everything.
func (l *syncLook) all() error {
	steps := []func() error{l.toDevice, l.accountData, l.rooms, l.deviceLists, l.keyCounts}
	if !l.q.initial && !l.q.full && l.q.since.pos == l.now {
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
func (l *syncLook) toDevice() error {
	page, more, err := mailbox.Read(l.tx, network, l.user, l.device, l.q.since.box, toDevicePage)
	if err != nil {
		return err
	}
	l.answer.toDevice = page
	if more {
		l.answer.next.box = page[len(page)-1].Pos
	}
	return nil
}

// A syncEvent is an event of account data or one that is not kept.
type syncEvent struct {
	Type    string          `json:"type"`
	Sender  quinta.UserID   `json:"sender,omitempty"`
	Content json.RawMessage `json:"content"`
}
