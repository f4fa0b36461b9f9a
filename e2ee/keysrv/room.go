package keysrv

import (
	"fmt"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A group is what is known of a conversation that is a room.
type group struct {
	// Members are those whom the room itself lists, sorted.
	Members []quinta.UserID `json:"members,omitempty"`
	// Listed is when the list was asked for last, and After when it may be
	// again, in Unix milliseconds. Outdated asks for it as soon as may be.
	Listed   int64 `json:"listed,omitempty"`
	After    int64 `json:"after,omitempty"`
	Outdated bool  `json:"outdated,omitempty"`
	// By has invited this user, who has not decided yet.
	By quinta.UserID `json:"by,omitempty"`
	// Archive is how far the room's archive was taken in.
	Archive string `json:"archive,omitempty"`
	// Name is what this user calls the room.
	Name string `json:"name,omitempty"`
}

// MaxMembers bounds the members of a room.
const MaxMembers = 10_000

// An Invitation is someone's wish that this user joins a room. One of this
// user's own devices says that it has joined.
type Invitation struct {
	Room quinta.RoomID
	By   quinta.UserID
}

// Join makes a room a conversation of this device. This user is a member of the
// room already; name is what to call it, and may be empty.
func (m *Machine) Join(tx e2ee.Tx, room quinta.RoomID, name string) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := CheckJID(quinta.UserID(room)); err != nil {
			return err
		}
		return w.join(room, name)
	})
}

func (w *work) join(room quinta.RoomID, name string) error {
	c, err := w.conv(room)
	if err != nil {
		return err
	}
	switch {
	case c == nil:
		c = &convRecord{Mode: ModeSealed, Group: &group{}}
		w.convs[room] = c
	case c.Group == nil:
		return fmt.Errorf("%w: the name of a room is that of a user", ErrMismatch)
	}
	if name != "" {
		c.Group.Name = name
	}
	c.Left, c.Group.By, c.Group.Outdated, c.Group.After, c.dirty = false, "", true, 0, true
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: room}})
	return w.askMembers(room, c)
}

// invited notes an invitation.
func (w *work) invited(in Invitation) error {
	if CheckJID(quinta.UserID(in.Room)) != nil || CheckJID(in.By) != nil {
		return nil
	}
	c, err := w.conv(in.Room)
	if err != nil || c != nil && (c.Group == nil || !c.Left) {
		return err
	}
	if in.By == w.m.user {
		if c != nil && c.Group.By == "" {
			return nil // it was left on this device
		}
		return w.join(in.Room, "")
	}
	if c == nil {
		c = &convRecord{Mode: ModeSealed, Group: &group{}}
		w.convs[in.Room] = c
	}
	c.Left, c.Group.By, c.dirty = true, in.By, true
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: in.Room}, User: in.By, Detail: "invited"})
	return nil
}

// askMembers asks for the members of a room.
func (w *work) askMembers(room quinta.RoomID, c *convRecord) error {
	if w.early(c.Group.After) {
		return nil
	}
	there, err := w.asked(func(r *reqRecord) bool { return r.Req.Kind == ReqMembers && r.Req.Room == room })
	if err != nil || there {
		return err
	}
	return w.enqueue(reqRecord{Req: Req{Kind: ReqMembers, Room: room}})
}

// known reports whether the members of a conversation are known and not too old
// to send something; else it has them asked for.
func (w *work) knownMembers(room quinta.RoomID, c *convRecord) (bool, error) {
	if c.Group == nil {
		return true, nil
	}
	age := w.now.UnixMilli() - c.Group.Listed
	if c.Group.Listed != 0 && !c.Group.Outdated && age >= 0 && age < listLife.Milliseconds() {
		return true, nil
	}
	return false, w.askMembers(room, c)
}

// outdateRoom has the members of a room asked for again.
func (w *work) outdateRoom(room quinta.RoomID) error {
	c, err := w.conv(room)
	if err != nil || c == nil || c.Group == nil || c.Left {
		return err
	}
	c.Group.Outdated, c.Group.After, c.dirty = true, 0, true
	return w.askMembers(room, c)
}

// doneMembers takes the members of a room. When they have changed, the next
// message is the first one under a new key.
func (w *work) doneMembers(r *reqRecord, ans Ans) error {
	room := r.Req.Room
	c, err := w.conv(room)
	if err != nil || c == nil || c.Group == nil {
		return err
	}
	g := c.Group
	c.dirty = true
	if ans.Code != "" {
		g.After = w.in(again)
		w.trouble("the members of "+string(room), ans)
		return nil
	}
	list := slices.Clone(ans.Members[:min(len(ans.Members), MaxMembers)])
	list = slices.DeleteFunc(list, func(u quinta.UserID) bool { return CheckJID(u) != nil })
	slices.Sort(list)
	list = slices.Compact(list)
	changed := !slices.Equal(list, g.Members)
	g.Members, g.Listed, g.After, g.Outdated = list, max(1, w.now.UnixMilli()), 0, false
	if !changed {
		return nil
	}
	if !slices.Contains(list, w.m.user) {
		c.Left = true
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: room}, Detail: "left"})
	} else {
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: room}, Detail: "members"})
	}
	return w.rotate(c)
}

// Groups returns the rooms that this device has joined, with how far the archive
// of each was taken in.
func (m *Machine) Groups(tx e2ee.Tx) (map[quinta.RoomID]string, error) {
	out := map[quinta.RoomID]string{}
	_, err := m.run(tx, func(w *work) error {
		for r, err := range e2ee.Records[convRecord](w.tx, "conv/") {
			if err != nil {
				return err
			}
			if r.Value.Group != nil && !r.Value.Left {
				out[quinta.RoomID(r.Name)] = r.Value.Group.Archive
			}
		}
		return nil
	})
	return out, err
}

// RefreshRoom has the members of a room asked for.
func (m *Machine) RefreshRoom(tx e2ee.Tx, room quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error { return w.outdateRoom(room) })
	return err
}

// senders are the users who may have sent an item, of whom the creator of its
// key decides.
func (w *work) senders(it *Item) []quinta.UserID {
	if it.From != "" {
		return []quinta.UserID{it.From}
	}
	return w.members(it.Room)
}
