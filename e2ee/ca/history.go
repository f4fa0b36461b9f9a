package ca

import (
	"bytes"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Login is what the server reported when the device logged in.
type Login struct {
	// New says that the device did not exist before, and Delivered the position
	// up to which some device of the user had read by then.
	New       bool
	Delivered quinta.Pos
}

// Begin tells the machine about a new login, before anything else. A new
// device then looks in the history of each conversation for messages that no
// device of the user has read yet: those that it cannot open wait for a
// backup, for the keys of another device, or for the senders.
func (m *Machine) Begin(tx e2ee.Tx, l Login) error {
	_, err := m.run(tx, func(w *work) error {
		if w.metaStored == nil && l.New {
			w.meta.Unread = &l.Delivered
		}
		return nil
	})
	return err
}

// The bounds of what a new device looks for in one conversation.
const (
	historyPage = 100
	maxPages    = 50
)

const waitHistory = "history:"

// beginHistory asks for the history of every conversation, on a new device.
func (w *work) beginHistory() error {
	if w.meta.Unread == nil {
		return nil
	}
	entries, err := e2ee.Entries(w.tx, "conv/")
	if err != nil {
		return err
	}
	ids := map[quinta.RoomID]bool{}
	for _, e := range entries {
		ids[quinta.RoomID(strings.TrimPrefix(e.Key, "conv/"))] = true
	}
	for id := range w.convs {
		ids[id] = true
	}
	list := make([]quinta.RoomID, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	slices.Sort(list)
	for _, id := range list {
		if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqHistory, Conv: id, Limit: historyPage}}); err != nil {
			return err
		}
	}
	return nil
}

// doneHistory takes a page of a conversation, newest first. What is unread is
// opened when all of it is here, oldest first.
func (w *work) doneHistory(r *reqRecord, ans Ans) error {
	what := waitHistory + string(r.Req.Conv)
	if ans.Code != "" || ans.History == nil || w.meta.Unread == nil {
		if ans.Code != "" && ans.Code != CodeNotFound {
			w.trouble("the history of a conversation", ans)
		}
		w.retry(what)
		return nil
	}
	unread := *w.meta.Unread
	more := ans.History.Before != 0
	for i := range ans.History.Items {
		it := &ans.History.Items[i]
		if it.Pos <= unread || r.Req.Before != 0 && it.Pos >= r.Req.Before {
			more = false
			continue
		}
		if it.Conv != r.Req.Conv || it.Kind != KindMessage || it.check() != nil {
			continue
		}
		if it.From == w.m.user {
			continue // its user wrote it: it is not unread
		}
		if skip, err := w.twice(it); err != nil || skip {
			if err != nil {
				return err
			}
			continue
		}
		if err := w.wait(&waitRecord{Item: *it, Late: true}, "", what, nil); err != nil {
			return err
		}
	}
	if more && len(ans.History.Items) > 0 && r.Pages < maxPages && (r.Req.Before == 0 || ans.History.Before < r.Req.Before) {
		return w.reqs.add(reqRecord{Req: Req{Kind: ReqHistory, Conv: r.Req.Conv, Before: ans.History.Before, Limit: historyPage}, Pages: r.Pages + 1})
	}
	w.retry(what)
	return nil
}

// twice reports whether a message of the history is here already.
func (w *work) twice(it *Item) (bool, error) {
	seen, err := w.mem.seen(it.Conv, it.ID)
	if err != nil || seen {
		return seen, err
	}
	b, err := w.tx.Get(waitIDKey(it.Conv, it.ID))
	return b != nil, err
}

// expected reports whether an item of the mailbox is one that the history has
// brought before: the same bytes, once. It is no replay then.
func (w *work) expected(it *Item) (bool, error) {
	if it.Kind != KindMessage {
		return false, nil
	}
	key, err := w.tx.Get(waitIDKey(it.Conv, it.ID))
	if err != nil {
		return false, err
	}
	if key != nil {
		p, _, err := e2ee.Load[waitRecord](w.tx, string(key))
		if err != nil {
			return false, err
		}
		if p.Late && p.Item.From == it.From && p.Item.Device == it.Device && bytes.Equal(p.Item.Body, it.Body) {
			p.Late = false
			return true, e2ee.Store(w.tx, string(key), &p)
		}
		return false, nil
	}
	return w.mem.expected(it.Conv, it.ID, sumOf(it.Body))
}

// History opens past messages of a conversation, as the server returns them:
// newest first. Messages that are already known are left out; those that
// cannot be opened yet are kept, as with Receive. Messages older than MaxAge
// are refused as replayed, because the device no longer remembers which ones
// it has seen.
func (m *Machine) History(tx e2ee.Tx, conv quinta.RoomID, h History) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		for _, it := range slices.Backward(h.Items) {
			if it.Kind != KindMessage || it.Conv != conv || it.From == w.m.user && it.Device == w.m.device {
				continue
			}
			if skip, err := w.twice(&it); err != nil || skip {
				if err != nil {
					return err
				}
				continue
			}
			if err := w.take(&waitRecord{Item: it, Late: true}, ""); err != nil {
				return err
			}
			if err := w.tryAgain(); err != nil {
				return err
			}
		}
		return nil
	})
}
