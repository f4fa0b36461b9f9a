package matrix

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Restored says that the store was restored from an old copy, or is a copy:
// what it seals with may have been used since. Nothing of it is used again.
// The next message to each room begins a new session, each device gets a new
// Olm session, and with it learns that messages to this one may not have
// opened. What can be opened stays.
//
// The program calls it once, in the transaction in which it starts again. A
// machine cannot find out by itself: a server does not keep what was sent to
// devices.
func (m *Machine) Restored(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		for _, prefix := range []string{"out/", "given/"} {
			entries, err := e2ee.Entries(w.tx, prefix)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := w.tx.Delete(e.Key); err != nil {
					return err
				}
			}
		}
		w.meta.Epoch++
		if err := w.peers.retireAll(); err != nil {
			return err
		}
		return w.greetAll()
	})
	return err
}

// greetAll makes a new session with every device with which there was one.
func (w *work) greetAll() error {
	entries, err := e2ee.Entries(w.tx, "user/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.UserID(strings.TrimPrefix(e.Key, "user/"))
		u, err := w.user(id)
		if err != nil {
			return err
		}
		for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
			d := u.Devices[device]
			p, err := w.peers.get(d.Curve)
			if err != nil {
				return err
			}
			if len(p.Sessions) == 0 || d.Gone || d.Changed || d.Decision == Reject {
				continue
			}
			d.UnwedgedAt, u.dirty = w.now.UnixMilli(), true
			if err := w.post(olmItem{To: target{id, device, d.Curve}, Type: typeDummy, Content: json.RawMessage(`{}`), Fresh: true}); err != nil {
				return err
			}
		}
	}
	return nil
}
