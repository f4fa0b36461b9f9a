package matrix

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/order"
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
	// AccountData holds whole events of the user's own data. The machine looks
	// at none of it: it is here so that a sync is read once.
	AccountData []json.RawMessage
}

// An InRoom is one room of a sync.
type InRoom struct {
	ID quinta.RoomID
	// Left: the user of this device is not in the room any more. Invited: not
	// yet.
	Left, Invited bool
	// Limited: there is a gap before the timeline.
	Limited bool
	// State holds whole state events from before the timeline, Timeline whole
	// events, and StateAfter the state changes up to its end if the server
	// gives them (then state is taken only from there).
	State, Timeline, StateAfter []json.RawMessage
	HasStateAfter               bool
	// Ephemeral holds whole ephemeral events, such as receipts.
	Ephemeral []json.RawMessage
	// Prev is where the history before the timeline is read from, and Heroes are
	// the users to name a room after that has no name; nil if not said. The
	// machine looks at neither.
	Prev   string
	Heroes []quinta.UserID
}

// maxSync bounds the body of a /sync.
const maxSync = 64 << 20

// ParseSync reads the JSON answer of a /sync that was asked from since. Rooms
// come in the order of their ids. Where a member that the machine does not look
// at has another type than it should, it counts as not said.
func ParseSync(since string, body []byte) (In, error) {
	if len(body) > maxSync {
		return In{}, fmt.Errorf("%w: sync too large", ErrMalformed)
	}
	type events struct {
		Events []json.RawMessage `json:"events"`
	}
	type summary struct {
		Heroes []quinta.UserID `json:"m.heroes"`
	}
	type room struct {
		State    events `json:"state"`
		Timeline struct {
			events
			Limited bool            `json:"limited"`
			Prev    json.RawMessage `json:"prev_batch"`
		} `json:"timeline"`
		Summary       json.RawMessage `json:"summary"`
		Ephemeral     events          `json:"ephemeral"`
		Invite        events          `json:"invite_state"`
		After         *events         `json:"state_after"`
		AfterUnstable *events         `json:"org.matrix.msc4222.state_after"`
	}
	var s struct {
		NextBatch   string `json:"next_batch"`
		ToDevice    events `json:"to_device"`
		DeviceLists struct {
			Changed []quinta.UserID `json:"changed"`
			Left    []quinta.UserID `json:"left"`
		} `json:"device_lists"`
		Counts         map[string]int  `json:"device_one_time_keys_count"`
		UnusedFallback *[]string       `json:"device_unused_fallback_key_types"`
		AccountData    json.RawMessage `json:"account_data"`
		Rooms          struct {
			Join   map[quinta.RoomID]room `json:"join"`
			Leave  map[quinta.RoomID]room `json:"leave"`
			Invite map[quinta.RoomID]room `json:"invite"`
		} `json:"rooms"`
	}
	if err := exactjson.Unmarshal(body, &s); err != nil {
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
	in.AccountData = lenient[events](s.AccountData).Events
	if s.UnusedFallback != nil {
		in.UnusedFallback = append([]string{}, *s.UnusedFallback...)
	}
	add := func(id quinta.RoomID, r room, standing string) {
		ir := InRoom{
			ID: id, Left: standing == "leave", Invited: standing == "invite", Limited: r.Timeline.Limited,
			State: append(r.State.Events, r.Invite.Events...), Timeline: r.Timeline.Events, Ephemeral: r.Ephemeral.Events,
			Prev: lenient[string](r.Timeline.Prev), Heroes: lenient[summary](r.Summary).Heroes,
		}
		if after := r.After; after != nil || r.AfterUnstable != nil {
			if after == nil {
				after = r.AfterUnstable
			}
			ir.HasStateAfter, ir.StateAfter = true, after.Events
		}
		in.Rooms = append(in.Rooms, ir)
	}
	for id, r := range s.Rooms.Join {
		add(id, r, "join")
	}
	for id, r := range s.Rooms.Leave {
		add(id, r, "leave")
	}
	for id, r := range s.Rooms.Invite {
		add(id, r, "invite")
	}
	order.By(in.Rooms, func(a, b InRoom) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return in, nil
}

// lenient reads a value that no harm comes of if it cannot be read: then it is
// the zero value.
func lenient[T any](raw json.RawMessage) (v T) {
	if exactjson.Unmarshal(raw, &v) != nil {
		var zero T
		return zero
	}
	return v
}

// Receive takes what a sync brought: the changes of device lists, the
// messages to this device, then the rooms. Its effects and the position from
// which the next sync continues are one commit.
//
// A sync without Since starts from scratch: it is taken at any time, and all
// device lists count as outdated, because changes since they were asked for are
// not known; also before the very first sync some were requested. Any other
// that does not continue from the last position is ErrOutOfOrder.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if in.Since != "" && in.Since != w.meta.NextBatch {
			return ErrOutOfOrder
		}
		if in.Since == "" {
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

// Read opens older events of a room, as /messages gives them. It changes
// nothing of what is known of the room, but that one in which a sealed message
// opens is encrypted. What has no key yet is kept and opens
// when the key comes, as with Receive.
func (m *Machine) Read(tx e2ee.Tx, room quinta.RoomID, events []json.RawMessage) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		w.reading = true
		r, _, err := w.room(room)
		if err != nil {
			return err
		}
		for _, raw := range events {
			var e roomEvent
			if len(raw) > maxEvent || exactjson.Unmarshal(raw, &e) != nil || !plain(e.Sender) || e.Type == "" || e.StateKey != nil {
				continue
			}
			if err := w.timelineEvent(room, &r, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// outdateAll marks the lists of all users whose devices are followed as
// outdated.
func (w *work) outdateAll() error {
	if err := w.flushUsers(); err != nil {
		return err
	}
	entries, err := e2ee.Entries(w.tx, "user/")
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
