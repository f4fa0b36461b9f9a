package matrix

import (
	"encoding/json"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// An In is what one /sync brought. [ParseSync] makes it.
type In struct {
	// Since is the position that was asked from, NextBatch the one to ask from
	// next.
	Since     string
	NextBatch string
	// ToDevice holds whole to-device events.
	ToDevice []json.RawMessage
	// Changed and Left are the device_lists.
	Changed, Left []quinta.UserID
	// OneTimeKeys counts unclaimed keys by algorithm; nil if not said.
	OneTimeKeys map[string]int
	// UnusedFallback lists algorithms; nil if not said.
	UnusedFallback []string
	Rooms          []InRoom
}

// An InRoom is one room of a sync.
type InRoom struct {
	ID quinta.RoomID
	// Left: the own user is not in the room any more.
	Left bool
	// Limited: there is a gap before the timeline.
	Limited bool
	// State holds whole state events from before the timeline, Timeline whole
	// events, and StateAfter the state changes up to its end if the server
	// gives them (then state is taken only from there).
	State, Timeline, StateAfter []json.RawMessage
	HasStateAfter               bool
}

// maxSync bounds the body of a /sync.
const maxSync = 64 << 20

// ParseSync reads the JSON answer of a /sync that was asked from since. Rooms
// are in no particular order.
func ParseSync(since string, body []byte) (In, error) {
	if len(body) > maxSync {
		return In{}, fmt.Errorf("%w: sync too large", ErrMalformed)
	}
	type events struct {
		Events []json.RawMessage `json:"events"`
	}
	type room struct {
		State    events `json:"state"`
		Timeline struct {
			events
			Limited bool `json:"limited"`
		} `json:"timeline"`
		After         *events `json:"state_after"`
		AfterUnstable *events `json:"org.matrix.msc4222.state_after"`
	}
	var s struct {
		NextBatch   string `json:"next_batch"`
		ToDevice    events `json:"to_device"`
		DeviceLists struct {
			Changed []quinta.UserID `json:"changed"`
			Left    []quinta.UserID `json:"left"`
		} `json:"device_lists"`
		Counts         map[string]int `json:"device_one_time_keys_count"`
		UnusedFallback *[]string      `json:"device_unused_fallback_key_types"`
		Rooms          struct {
			Join  map[quinta.RoomID]room `json:"join"`
			Leave map[quinta.RoomID]room `json:"leave"`
		} `json:"rooms"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return In{}, fmt.Errorf("%w: sync", ErrMalformed)
	}
	if s.NextBatch == "" {
		return In{}, fmt.Errorf("%w: sync without next_batch", ErrMalformed)
	}
	in := In{
		Since: since, NextBatch: s.NextBatch, ToDevice: s.ToDevice.Events,
		Changed: s.DeviceLists.Changed, Left: s.DeviceLists.Left, OneTimeKeys: s.Counts,
	}
	if in.OneTimeKeys == nil {
		in.OneTimeKeys = map[string]int{} // required if any is left
	}
	if s.UnusedFallback != nil {
		in.UnusedFallback = append([]string{}, *s.UnusedFallback...)
	}
	add := func(id quinta.RoomID, r room, left bool) {
		ir := InRoom{ID: id, Left: left, Limited: r.Timeline.Limited, State: r.State.Events, Timeline: r.Timeline.Events}
		if after := r.After; after != nil || r.AfterUnstable != nil {
			if after == nil {
				after = r.AfterUnstable
			}
			ir.HasStateAfter, ir.StateAfter = true, after.Events
		}
		in.Rooms = append(in.Rooms, ir)
	}
	for id, r := range s.Rooms.Join {
		add(id, r, false)
	}
	for id, r := range s.Rooms.Leave {
		add(id, r, true)
	}
	return in, nil
}

// Receive takes what a sync brought: the changes of device lists, the
// messages to this device, then the rooms. Its effects and the position from
// which the next sync goes on are one commit.
//
// A sync without Since begins anew: it is taken at any time, and all device
// lists count as outdated, because changes in between are not known. Any other
// that does not go on from the last position is ErrOutOfOrder.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if in.Since != "" && in.Since != w.meta.NextBatch {
			return ErrOutOfOrder
		}
		if in.Since == "" && w.meta.NextBatch != "" {
			if err := w.outdateAll(); err != nil {
				return err
			}
		}
		w.counts(in)
		if err := w.deviceLists(in); err != nil {
			return err
		}
		for _, raw := range in.ToDevice {
			if err := w.receiveToDevice(raw); err != nil {
				return err
			}
		}
		for _, r := range in.Rooms {
			if err := w.receiveRoom(r); err != nil {
				return err
			}
		}
		w.meta.NextBatch = in.NextBatch
		return nil
	})
}

func (w *work) outdateAll() error {
	if err := w.flushUsers(); err != nil {
		return err
	}
	entries, err := w.keysWith("user/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		u, err := w.user(quinta.UserID(e.Key[len("user/"):]))
		if err != nil {
			return err
		}
		if u.Tracked {
			w.outdate(u)
		}
	}
	return nil
}
