package matrix

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/key"
)

// The data that strangers can make a device store are limited, for each of
// them and in total. The oldest are dropped first, except data that have
// meanwhile turned out to belong to someone known.
const (
	maxWithheld, maxWithheldOfOne = 2000, 200   // words on keys that will not come
	maxKept, maxKeptOfOne         = 20000, 4000 // messages that wait for a key
	maxRequests, maxRequestsOfOne = 1000, 200   // own requests for keys
	maxStray, maxStrayOfOne       = 1000, 100   // sessions of rooms that this user is not in
	maxStrangers, maxOfStranger   = 500, 20     // Olm sessions with devices that no one knows
	maxPending, maxPendingOfOne   = 1000, 50    // payloads that wait for a device list
	// maxGone is how many devices of a user are kept that the server does not
	// list any more.
	maxGone = 200
)

func (w *work) withheldBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "withheld", maxWithheldOfOne, maxWithheld)
}
func (w *work) keptBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "kept", maxKeptOfOne, maxKept)
}
func (w *work) requestBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "keyreq", maxRequestsOfOne, maxRequests)
}
func (w *work) pendingBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "pending", maxPendingOfOne, maxPending)
}

// hold notes a record that sender caused, and deletes those that go for it.
func (w *work) hold(b *e2ee.Bound, sender quinta.UserID, key string) error {
	evicted, err := b.Add(string(sender), key)
	if err != nil {
		return err
	}
	for _, k := range evicted {
		if err := w.tx.Delete(k); err != nil {
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

// stray holds a new session of a room that this user is not in.
func (w *work) stray(room quinta.RoomID, session string, owner quinta.UserID) error {
	in := func(room quinta.RoomID) (bool, error) {
		r, found, err := w.room(room)
		return found && !r.Left, err
	}
	if known, err := in(room); err != nil || known || owner == "" || owner == w.m.user {
		return err
	}
	b := e2ee.NewBound(w.tx, "stray", maxStrayOfOne, maxStray)
	evicted, err := b.Add(string(owner), string(room)+"\x00"+session)
	if err != nil {
		return err
	}
	for _, e := range evicted {
		id, session, _ := strings.Cut(e, "\x00")
		known, err := in(quinta.RoomID(id))
		if err != nil {
			return err
		}
		if known {
			continue
		}
		for _, k := range []string{inboundKey(quinta.RoomID(id), session), unsavedKey(quinta.RoomID(id), session)} {
			if err := w.tx.Delete(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// stranger holds the Olm sessions with a device that no one lists.
func (w *work) stranger(sender quinta.UserID, curve key.IdentityPublic) error {
	evicted, err := e2ee.NewBound(w.tx, "strangers", maxOfStranger, maxStrangers).Add(string(sender), curve.String())
	if err != nil {
		return err
	}
	for _, e := range evicted {
		old, err := key.ParseAgreementPublic[key.Identity](e)
		if err != nil {
			return e2ee.Damaged("bound/strangers")
		}
		owner, err := w.ownerOf(old.String())
		if err != nil {
			return err
		}
		if owner != "" {
			continue
		}
		if err := w.peers.drop(old); err != nil {
			return err
		}
	}
	return nil
}

// forgetGone forgets devices that the server does not list any more, beyond
// those that are kept: first the ones that no one judged and that never had a
// session with this device.
func (w *work) forgetGone(id quinta.UserID, u *userRecord) error {
	var gone []quinta.DeviceID
	for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
		if u.Devices[device].Gone {
			gone = append(gone, device)
		}
	}
	if len(gone) <= maxGone {
		return nil
	}
	worth := map[quinta.DeviceID]int{}
	for _, device := range gone {
		d := u.Devices[device]
		p, err := w.peers.get(d.Curve)
		if err != nil {
			return err
		}
		if d.Decision != Skip {
			worth[device] += 2
		}
		if len(p.Sessions) > 0 {
			worth[device]++
		}
	}
	slices.SortStableFunc(gone, func(a, b quinta.DeviceID) int { return cmp.Compare(worth[a], worth[b]) })
	for _, device := range gone[:len(gone)-maxGone] {
		d := u.Devices[device]
		delete(u.Devices, device)
		for _, k := range []string{rawKey(id, device), curveKey(d.Curve.String())} {
			if err := w.tx.Delete(k); err != nil {
				return err
			}
		}
		if err := w.peers.drop(d.Curve); err != nil {
			return err
		}
	}
	return nil
}
