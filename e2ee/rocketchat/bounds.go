package rocketchat

import (
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// What others can make a device store is bounded, for each of them and in all.
// Beyond that the oldest are given up; the server still has the messages. What is
// remembered of a message that was shown is as much as the message.
const (
	maxWaiting, maxWaitingOfOne = 10_000, 2000 // messages that wait for a key
	maxClaimed, maxClaimedOfOne = 1000, 100    // rooms that only a message names
	maxGone, maxGoneOfRoom      = 10_000, 1000 // messages taken back that never came
	maxKeys, maxKeysOfRoom      = 50_000, 1000 // room keys
	maxNames                    = 10_000       // names of users
	// maxPins is how many public keys are pinned. A pin is not given up for
	// another one: keys of more users are given no room key.
	maxPins = 10_000
	// maxOffers is how many users get a room key in one call, and maxBlocked how
	// many are remembered whose changed key keeps them from it.
	maxOffers, maxBlocked = 500, 1000
)

func (w *work) waitingBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "waiting", maxWaitingOfOne, maxWaiting)
}

func (w *work) claimedBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "claimed", maxClaimedOfOne, maxClaimed)
}

func (w *work) goneBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "gone", maxGoneOfRoom, maxGone)
}

// hold notes a record that a user, or a room, caused, and deletes those that go
// for it.
func (w *work) hold(b *e2ee.Bound, of, key string) error {
	evicted, err := b.Add(of, key)
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

// release deletes a record that was held.
func (w *work) release(b *e2ee.Bound, key string) error {
	if err := b.Drop(key); err != nil {
		return err
	}
	return w.tx.Delete(key)
}

// holdWaiting notes a message that waits. One that goes for it is forgotten, so
// that it is taken in again if the server brings it again.
func (w *work) holdWaiting(of, key string) error {
	evicted, err := w.waitingBound().Add(of, key)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		if err := w.tx.Delete(old); err != nil {
			return err
		}
		if at := strings.TrimPrefix(old, "wait/"); !strings.HasSuffix(at, "@") {
			if err := w.tx.Delete("seen/" + at); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdRoom notes a room that only a message names, and forgets those that go for
// it.
func (w *work) holdRoom(m *Message) error {
	evicted, err := w.claimedBound().Add(m.User.ID, string(m.Room))
	if err != nil {
		return err
	}
	for _, old := range evicted {
		if err := w.forgetRoom(quinta.RoomID(old)); err != nil {
			return err
		}
	}
	return nil
}

// forgetRoom forgets a room that only messages named, with the messages.
func (w *work) forgetRoom(id quinta.RoomID) error {
	waiting, err := e2ee.Entries(w.tx, waitPrefix(id))
	if err != nil {
		return err
	}
	for _, e := range waiting {
		if err := w.release(w.waitingBound(), e.Key); err != nil {
			return err
		}
	}
	seen, err := e2ee.Entries(w.tx, seenKey(id, ""))
	if err != nil {
		return err
	}
	for _, e := range seen {
		if err := w.release(w.goneBound(), e.Key); err != nil {
			return err
		}
	}
	for r, err := range w.reqs.All() {
		if err != nil {
			return err
		}
		if r.Value.Kind == ReqRoom && r.Value.Room == id {
			if err := w.reqs.Done(r.Name); err != nil {
				return err
			}
		}
	}
	delete(w.rooms, id)
	return w.tx.Delete(roomKeyOf(id))
}

// holdKey notes the keys of an id of a room.
func (w *work) holdKey(id quinta.RoomID, key string) error {
	evicted, err := e2ee.NewBound(w.tx, "keys", maxKeysOfRoom, maxKeys).Add(string(id), key)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		list, _, err := e2ee.Load[[]keyRecord](w.tx, old)
		if err != nil {
			return err
		}
		for _, rec := range list {
			k, err := ParseRoomKey(rec.KeyID, rec.JWK)
			if err != nil {
				return e2ee.Damaged(old)
			}
			if err := w.tx.Delete("keyuse/" + keyPrint(k)); err != nil {
				return err
			}
		}
		if err := w.tx.Delete(old); err != nil {
			return err
		}
	}
	return nil
}

// holdName notes the name of a user. Those of users with a pinned key stay.
func (w *work) holdName(user string) error {
	evicted, err := e2ee.NewBound(w.tx, "names", maxNames, maxNames).Add("", user)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		if pin, err := w.tx.Get(pinKey(old)); err != nil {
			return err
		} else if pin != nil {
			continue
		}
		if err := w.tx.Delete("name/" + old); err != nil {
			return err
		}
	}
	return nil
}

// holdPin notes a pinned key and reports whether there is room for it.
func (w *work) holdPin(user string) (bool, error) {
	b := e2ee.NewBound(w.tx, "pins", maxPins, maxPins)
	if full, err := b.Full(""); err != nil || full {
		if full {
			w.trouble("the key of "+string(w.name(user))+" is not pinned: too many keys are", Ans{})
		}
		return false, err
	}
	_, err := b.Add("", user)
	return err == nil, err
}
