package ca

import (
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// The data that others can make a device store are limited, for each of them
// and in total. Beyond that, the oldest are dropped; the server's history
// still has the messages. What a device remembers of messages that it opened
// ends with their age; see replays.
const (
	maxWaiting, maxWaitingOfOne   = 10_000, 2000 // items that wait
	maxSessions, maxSessionsOfOne = 5000, 200    // symmetric keys that a peer offers
)

func (w *work) waitingBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "waiting", maxWaitingOfOne, maxWaiting)
}

func (w *work) sessionsBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "sessions", maxSessionsOfOne, maxSessions)
}

// hold notes a record that a user caused, and deletes those that go for it.
func (w *work) hold(b *e2ee.Bound, of quinta.UserID, key string) error {
	evicted, err := b.Add(string(of), key)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		if err := w.tx.Delete(old); err != nil {
			return err
		}
	}
	return nil
}

// holdWaiting notes an item that waits, and gives up those that go for it. A
// conversation that only such an item waits for is not asked for any more.
func (w *work) holdWaiting(of quinta.UserID, key string) error {
	evicted, err := w.waitingBound().Add(string(of), key)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		r, found, err := e2ee.Load[waitRecord](w.tx, old)
		if err != nil {
			return err
		}
		if !found {
			return e2ee.Damaged(old)
		}
		if conv, asked := strings.CutPrefix(r.For, waitConv); asked {
			if err := w.reqs.drop(func(q *reqRecord) bool {
				return q.Req.Kind == ReqConversation && string(q.Req.Conv) == conv
			}); err != nil {
				return err
			}
		}
		if err := w.unwait(&r, old); err != nil {
			return err
		}
	}
	return nil
}
