package keysrv

import (
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
)

// takeBack looks at what was sealed and has not left, since the server could not
// be reached or did not answer: a copy of a key leaves only for a device that
// would be given it now, and a message only under a key that no other device
// has. A message that is taken back is sealed again under the same id: a
// recipient who has the first one as well shows one of the two.
func (w *work) takeBack() error {
	for rec, err := range w.reqs.All() {
		if err != nil {
			return err
		}
		switch r := rec.Value; r.Req.Kind {
		case ReqWrap:
			err = w.takeBackCopies(rec.Name, r)
		case ReqCreate:
			err = w.takeBackKey(rec.Name, r)
		case ReqMessage:
			err = w.takeBackMessage(rec.Name, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeBackCopies leaves out the copies for devices that are not to get the key
// any more.
func (w *work) takeBackCopies(name string, r reqRecord) error {
	k, err := w.loadKey(r.Req.ObjectID)
	if err != nil {
		return err
	}
	if k == nil {
		return w.reqs.Done(name)
	}
	keep := make([]Wrapped, 0, len(r.Req.Wrapped))
	for _, c := range r.Req.Wrapped {
		ok, err := w.entitled(k.Room, c.User, c.Device)
		if err != nil {
			return err
		}
		if ok {
			keep = append(keep, c)
		}
	}
	switch {
	case len(keep) == 0:
		return w.reqs.Done(name)
	case len(keep) < len(r.Req.Wrapped):
		r.Req.Wrapped = keep
		return w.reqs.Set(name, r)
	}
	return nil
}

// takeBackKey forgets a key under which nothing was sealed, if one of its copies
// is for a device that is not to get it any more. Another is made.
func (w *work) takeBackKey(name string, r reqRecord) error {
	for _, c := range r.Req.Create.Wrapped {
		ok, err := w.entitled(r.Req.Room, c.User, c.Device)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		c, err := w.conv(r.Req.Room)
		if err != nil {
			return err
		}
		if c != nil && c.Out != nil && c.Out.ID == r.Req.Create.ID {
			c.Out, c.dirty = nil, true
		}
		if err := w.tx.Delete(keyKey(r.Req.Create.ID)); err != nil {
			return err
		}
		return w.reqs.Done(name)
	}
	return nil
}

// takeBackMessage has a message sealed again if a device that has its key is not
// to read it any more.
func (w *work) takeBackMessage(name string, r reqRecord) error {
	gone, err := w.lost(r.Req.Room, r.For)
	if err != nil || !gone {
		return err
	}
	c, err := w.conv(r.Req.Room)
	if err != nil {
		return err
	}
	if c != nil && c.Out != nil && c.Out.ID == r.Req.Packet.ObjectID {
		c.Out, c.dirty = nil, true
	}
	o, found, err := w.out.Get(r.Out)
	if err != nil {
		return err
	}
	if found {
		o.Sealed = false
		if err := w.out.Set(r.Out, o); err != nil {
			return err
		}
	}
	return w.reqs.Done(name)
}

// lost reports whether one of the devices, as "user device", is not to get what
// is said in a conversation.
func (w *work) lost(room quinta.RoomID, devices []string) (bool, error) {
	for _, n := range devices {
		user, device, _ := strings.Cut(n, " ")
		ok, err := w.entitled(room, quinta.UserID(user), quinta.DeviceID(device))
		if err != nil || !ok {
			return !ok, err
		}
	}
	return false, nil
}

// entitled reports whether a device is to get the keys of a conversation now.
func (w *work) entitled(room quinta.RoomID, user quinta.UserID, device quinta.DeviceID) (bool, error) {
	if !slices.Contains(w.members(room), user) {
		return false, nil
	}
	if user == w.m.user && device == w.meta.Device {
		return true, nil
	}
	u, err := w.user(user)
	if err != nil {
		return false, err
	}
	d := u.Devices[device]
	return d != nil && w.receives(d), nil
}
