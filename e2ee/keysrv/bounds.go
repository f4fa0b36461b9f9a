package keysrv

import (
	"cmp"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// The data that others can make a device store are limited, for each of them
// and in total. Beyond that, the oldest are dropped; messages are still in the
// archive of the XMPP server.
const (
	maxWaiting, maxWaitingOfOne = 10_000, 2000 // items that wait for a key
	maxRefused, maxRefusedOfOne = 10_000, 1000 // notes on items that never open
	maxWants, maxWantsOfOne     = 1000, 200    // copies of keys that a user's devices wait for
	// maxGone is how many devices of a user are kept that the server does not
	// list any more, besides those that the user judged or saw first.
	maxGone = 200
)

func (w *work) waitingBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "waiting", maxWaitingOfOne, maxWaiting)
}

func (w *work) wantsBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "wants", maxWantsOfOne, maxWants)
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

// noteRefused notes that an item was refused, so that it is told once.
func (w *work) noteRefused(it *Item, p *Packet) error {
	note := itemKey(it, p)
	if err := w.hold(e2ee.NewBound(w.tx, "refused", maxRefusedOfOne, maxRefused), it.From, note); err != nil {
		return err
	}
	return w.tx.Put(note, []byte{1})
}

// forgetGone forgets devices that the server does not list any more, beyond
// those that are kept: first those that nothing vouches for, then those that
// vouch for no listed one, and of these the ones that were made first. One that
// was pinned or judged stays, so that no one takes its place unseen.
func (u *userRecord) forgetGone() {
	vouches := map[quinta.DeviceID]bool{}
	for _, d := range u.Devices {
		if d.Gone {
			continue
		}
		for d != nil && d.Device.Approval != nil && !vouches[d.Device.Approval.By] {
			vouches[d.Device.Approval.By] = true
			d = u.Devices[d.Device.Approval.By]
		}
	}
	worth := func(d *deviceRecord) int {
		switch {
		case vouches[d.Device.ID]:
			return 2
		case d.Signed:
			return 1
		}
		return 0
	}
	var gone []*deviceRecord
	for _, id := range slices.Sorted(maps.Keys(u.Devices)) {
		if d := u.Devices[id]; d.Gone && !d.Pinned && d.Decision == DecideNone {
			gone = append(gone, d)
		}
	}
	slices.SortStableFunc(gone, func(a, b *deviceRecord) int {
		return cmp.Or(cmp.Compare(worth(a), worth(b)), cmp.Compare(a.Device.Created, b.Device.Created))
	})
	for _, d := range gone[:max(0, len(gone)-maxGone)] {
		delete(u.Devices, d.Device.ID)
	}
}
