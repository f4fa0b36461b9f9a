package keysrv

import (
	"fmt"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A convRecord is what is known of a conversation, by the bare JID of the peer or
// of the room.
type convRecord struct {
	// Mode never changes once it is known.
	Mode Mode `json:"mode"`
	// Out is the key under which this device seals, if there is one.
	Out *outKey `json:"out,omitempty"`
	// Left says that the user left the conversation on this device.
	Left bool `json:"left,omitempty"`
	// Group is set if the conversation is a room.
	Group *group `json:"group,omitempty"`
	dirty bool
}

// An outKey is the key object under which this device seals in a conversation.
// No other device seals under it.
type outKey struct {
	ID string `json:"id"`
	// Ready says that the server has it.
	Ready   bool  `json:"ready,omitempty"`
	Created int64 `json:"created"` // Unix milliseconds
	// Count is how many payloads were sealed.
	Count uint64 `json:"count"`
	// For are the devices that have a copy, as "user device".
	For []string `json:"for,omitempty"`
}

// conv returns the record of a conversation, or nil.
func (w *work) conv(room quinta.RoomID) (*convRecord, error) {
	if c, ok := w.convs[room]; ok {
		return c, nil
	}
	c, found, err := e2ee.Load[convRecord](w.tx, "conv/"+string(room))
	if err != nil || !found {
		return nil, err
	}
	w.convs[room] = &c
	return &c, nil
}

// id is the conversation's id at the key server.
func (w *work) convID(room quinta.RoomID) string {
	if w.group(room) != nil {
		return RoomID(room)
	}
	return DirectID(w.m.user, quinta.UserID(room))
}

// group returns what is known of a room, or nil if the conversation is none. An
// error of the store ends the whole call.
func (w *work) group(room quinta.RoomID) *group {
	c, err := w.conv(room)
	if err != nil && w.failure == nil {
		w.failure = err
	}
	if err != nil || c == nil {
		return nil
	}
	return c.Group
}

// members are the users of a conversation.
func (w *work) members(room quinta.RoomID) []quinta.UserID {
	if g := w.group(room); g != nil {
		return g.Members
	}
	list := []quinta.UserID{w.m.user, quinta.UserID(room)}
	slices.Sort(list)
	return slices.Compact(list)
}

// begin returns the record of a conversation and makes one if there is none.
func (w *work) begin(room quinta.RoomID, mode Mode) (*convRecord, error) {
	c, err := w.conv(room)
	if err != nil || c != nil {
		return c, err
	}
	c = &convRecord{Mode: mode, dirty: true}
	w.convs[room] = c
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: room}})
	return c, nil
}

// Direct returns the direct conversation with a user, sealed unless it exists
// in the other mode. For this user, it is the conversation of their own
// devices.
func (m *Machine) Direct(tx e2ee.Tx, peer quinta.UserID) (quinta.RoomID, []e2ee.Event, error) {
	return m.direct(tx, peer, ModeSealed)
}

// Escrow returns the direct conversation with a user in escrow mode, in which
// the key server holds the keys. A conversation that exists in sealed mode
// keeps it, and the call returns ErrDowngrade.
func (m *Machine) Escrow(tx e2ee.Tx, peer quinta.UserID) (quinta.RoomID, []e2ee.Event, error) {
	return m.direct(tx, peer, ModeEscrow)
}

func (m *Machine) direct(tx e2ee.Tx, peer quinta.UserID, mode Mode) (quinta.RoomID, []e2ee.Event, error) {
	room := quinta.RoomID(peer)
	events, err := m.run(tx, func(w *work) error {
		if err := CheckJID(peer); err != nil {
			return err
		}
		c, err := w.begin(room, mode)
		if err != nil {
			return err
		}
		if c.Group != nil {
			return fmt.Errorf("%w: this is the name of a room", ErrMismatch)
		}
		if mode == ModeEscrow && c.Mode != ModeEscrow {
			return fmt.Errorf("%w: it is sealed", ErrDowngrade)
		}
		c.Left, c.dirty = false, true
		return nil
	})
	return room, events, err
}

// Leave ends a conversation on this device: it is no longer listed until
// someone writes in it again.
func (m *Machine) Leave(tx e2ee.Tx, room quinta.RoomID) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		c, err := w.conv(room)
		if err != nil {
			return err
		}
		if c == nil {
			return ErrUnknownConversation
		}
		c.Left, c.Out, c.dirty = true, nil, true
		if c.Group != nil {
			c.Group.By = ""
		}
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: room}, Detail: "left"})
		return nil
	})
}

// Rotate makes the next message of this device in a conversation the first one
// under a new key.
func (m *Machine) Rotate(tx e2ee.Tx, room quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.conv(room)
		if err != nil {
			return err
		}
		if c == nil {
			return ErrUnknownConversation
		}
		return w.rotate(c)
	})
	return err
}

// rotate forgets the key that is sealed under. What it opens stays.
func (w *work) rotate(c *convRecord) error {
	c.Out, c.dirty = nil, true
	return nil
}

// rotateWith rotates the keys of all conversations that a user is in.
func (w *work) rotateWith(id quinta.UserID) error {
	for r, err := range e2ee.Records[convRecord](w.tx, "conv/") {
		if err != nil {
			return err
		}
		room := quinta.RoomID(r.Name)
		if !slices.Contains(w.members(room), id) {
			continue
		}
		c, err := w.conv(room)
		if err != nil {
			return err
		}
		if err := w.rotate(c); err != nil {
			return err
		}
	}
	return nil
}

// A RoomInfo is a conversation as this device knows it.
type RoomInfo struct {
	quinta.Room
	Mode Mode
	Left bool
	// Group says that it is a room, and By who has invited this user, if they
	// have not decided yet.
	Group bool
	By    quinta.UserID
	// Unsent is how many messages wait to be sent.
	Unsent int
	// Key is the id of the key object that this device seals under, if there is
	// one.
	Key string
}

// Room returns what is known of a conversation.
func (m *Machine) Room(tx e2ee.Tx, room quinta.RoomID) (out RoomInfo, err error) {
	_, err = m.run(tx, func(w *work) error {
		c, err := w.conv(room)
		if err != nil {
			return err
		}
		if c == nil {
			return ErrUnknownConversation
		}
		out = RoomInfo{Room: quinta.Room{ID: room, Encrypted: true, Members: w.members(room)}, Mode: c.Mode, Left: c.Left}
		if g := c.Group; g != nil {
			out.Group, out.By, out.Name = true, g.By, g.Name
		}
		if c.Out != nil {
			out.Key = c.Out.ID
		}
		for o, err := range w.out.All() {
			if err != nil {
				return err
			}
			if o.Value.Room == room {
				out.Unsent++
			}
		}
		return nil
	})
	return out, err
}

// Rooms returns the conversations of this device that were not left, by name.
func (m *Machine) Rooms(tx e2ee.Tx) (out []quinta.RoomID, err error) {
	_, err = m.run(tx, func(w *work) error {
		for r, err := range e2ee.Records[convRecord](w.tx, "conv/") {
			if err != nil {
				return err
			}
			if g := r.Value.Group; !r.Value.Left || g != nil && g.By != "" {
				out = append(out, quinta.RoomID(r.Name))
			}
		}
		return nil
	})
	return out, err
}
