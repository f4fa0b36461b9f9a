package keysrv

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A userRecord is what is known of a user's devices.
type userRecord struct {
	Devices map[quinta.DeviceID]*deviceRecord `json:"devices"`
	// Listed is when the list was asked for last, and After when it may be
	// again, in Unix milliseconds. Outdated asks for it as soon as may be.
	Listed   int64 `json:"listed,omitempty"`
	After    int64 `json:"after,omitempty"`
	Outdated bool  `json:"outdated,omitempty"`
	dirty    bool
}

// A deviceRecord is one device and what is thought of it.
type deviceRecord struct {
	Device Device `json:"device"`
	// Pinned says that it is the one seen first, Signed that a known device
	// vouches for it. A device that is neither gets no key.
	Pinned bool `json:"pinned,omitempty"`
	Signed bool `json:"signed,omitempty"`
	// Decision is the user's own.
	Decision Decision `json:"decision,omitempty"`
	// Gone says that the server does not list it any more.
	Gone bool `json:"gone,omitempty"`
	// Seen says that the user knows of the device, Told that they know of the
	// doubt.
	Seen bool `json:"seen,omitempty"`
	Told bool `json:"told,omitempty"`
}

// A Decision is the user's conclusion about a device.
type Decision string

// The decisions.
const (
	DecideNone     Decision = ""
	DecideVerified Decision = "verified"
	DecideRejected Decision = "rejected"
)

// known reports whether a device belongs to its user, as far as this one knows.
func (d *deviceRecord) known() bool {
	return d.Decision != DecideRejected && (d.Pinned || d.Signed || d.Decision == DecideVerified)
}

func (d *deviceRecord) trust() quinta.Trust {
	switch {
	case d.Decision == DecideRejected:
		return quinta.TrustRejected
	case d.Decision == DecideVerified:
		return quinta.TrustVerified
	case d.Signed:
		return quinta.TrustSigned
	case d.Pinned:
		return quinta.TrustPinned
	}
	return quinta.TrustUnknown
}

// user returns the record of a user, which may be empty.
func (w *work) user(id quinta.UserID) (*userRecord, error) {
	if u, ok := w.users[id]; ok {
		return u, nil
	}
	u, found, err := e2ee.Load[userRecord](w.tx, "user/"+string(id))
	if err != nil {
		return nil, err
	}
	if !found || u.Devices == nil {
		u.Devices = map[quinta.DeviceID]*deviceRecord{}
	}
	w.users[id] = &u
	return &u, nil
}

// fresh returns the record of a user whose devices are known and not too old to
// send something; else it has them asked for and returns nil.
func (w *work) fresh(id quinta.UserID) (*userRecord, error) {
	u, err := w.user(id)
	if err != nil {
		return nil, err
	}
	age := w.now.UnixMilli() - u.Listed
	if u.Listed != 0 && !u.Outdated && age >= 0 && age < listLife.Milliseconds() {
		return u, nil
	}
	return nil, w.askDevices(id, u)
}

func (w *work) askDevices(id quinta.UserID, u *userRecord) error {
	if w.early(u.After) {
		return nil
	}
	return w.askOnce(Req{Kind: ReqDevices, User: id})
}

// outdate has the devices of a user asked for again.
func (w *work) outdate(id quinta.UserID) error {
	u, err := w.user(id)
	if err != nil {
		return err
	}
	u.Outdated, u.dirty = true, true
	return w.tx.Put("refresh/"+string(id), []byte{1})
}

// planLists asks for the lists that are outdated.
func (w *work) planLists() error {
	entries, err := e2ee.Entries(w.tx, "refresh/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.UserID(e.Key[len("refresh/"):])
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if err := w.askDevices(id, u); err != nil {
			return err
		}
	}
	return nil
}

// doneDevices takes the devices of a user.
func (w *work) doneDevices(r *reqRecord, ans Ans) error {
	u, err := w.user(r.Req.User)
	if err != nil {
		return err
	}
	u.dirty = true
	if ans.Code != "" {
		u.After = w.in(again)
		w.trouble("the devices of "+string(r.Req.User), ans)
		return nil
	}
	if err := w.tx.Delete("refresh/" + string(r.Req.User)); err != nil {
		return err
	}
	if err := w.takeDevices(r.Req.User, u, ans.Devices); err != nil || r.Req.User != w.m.user {
		return err
	}
	return w.judgeSelf(ans.Devices)
}

// takeDevices takes the server's description of the devices of a user. A
// record that is not signed by itself is left out; one that has other keys
// than before does not replace it; one that no known device vouches for is in
// doubt.
func (w *work) takeDevices(id quinta.UserID, u *userRecord, list []Device) error {
	// A user without any device is seen first when the first one appears; on this
	// user's own list that can only be the first time.
	unseen := len(u.Devices) == 0
	if id == w.m.user {
		unseen = u.Listed == 0
	}
	u.Listed, u.After, u.Outdated, u.dirty = max(1, w.now.UnixMilli()), 0, false, true
	if len(list) > MaxDevices {
		list = list[:MaxDevices]
	}
	listed := map[quinta.DeviceID]bool{}
	for i := range list {
		d := &list[i]
		if d.Check() != nil || d.User != id {
			w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: id, Device: d.ID, Detail: "the server lists a device whose record belongs to another device"})
			continue
		}
		have := u.Devices[d.ID]
		if have != nil && !have.Device.Same(d) {
			w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: id, Device: d.ID, Detail: "the server lists other keys for a known device"})
			continue
		}
		listed[d.ID] = !d.Retired
		if have == nil {
			have = &deviceRecord{}
			u.Devices[d.ID] = have
		}
		if have.Gone && !d.Retired {
			w.changed(id, d.ID, "appeared again")
		}
		have.Device, have.Gone = *d, d.Retired && have.Gone
	}
	if unseen {
		// What is seen first is pinned.
		if root := u.Devices[first(list)]; root != nil {
			root.Pinned = true
		}
	}
	w.sign(u)
	w.compare(id, u, listed)
	u.forgetGone()
	w.retry(waitUser + string(id))
	return w.wakeOutbox(id)
}

// first returns the first device of a list that no other approved: the order is
// that in which the server took them in.
func first(list []Device) quinta.DeviceID {
	for i := range list {
		if list[i].Approval == nil {
			return list[i].ID
		}
	}
	return ""
}

// sign marks the devices that a known one approved, in any number of steps.
func (w *work) sign(u *userRecord) {
	for _, d := range u.Devices {
		d.Signed = false
	}
	for grown := true; grown; {
		grown = false
		for _, d := range u.Devices {
			if d.known() || d.Decision == DecideRejected || d.Device.Approval == nil {
				continue
			}
			by := u.Devices[d.Device.Approval.By]
			if by != nil && by.known() && d.Device.ApprovedBy(&by.Device) == nil {
				d.Signed, grown = true, true
			}
		}
	}
}

// compare tells of devices that came, went or are in doubt.
func (w *work) compare(id quinta.UserID, u *userRecord, listed map[quinta.DeviceID]bool) {
	for _, name := range slices.Sorted(maps.Keys(u.Devices)) {
		d := u.Devices[name]
		self := id == w.m.user && name == w.meta.Device
		switch {
		case !listed[name] && !d.Gone && !self:
			d.Gone = true
			w.changed(id, name, "gone")
		case d.known() && !d.Seen && !d.Gone:
			d.Seen, d.Told = true, false
			if !self {
				w.changed(id, name, "appeared")
			}
		case !d.known() && d.Decision == DecideNone && !d.Told && !d.Gone:
			d.Told, d.Seen = true, false
			w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: id, Device: name, Detail: "no known device of the user vouches for this one: it gets no key"})
		}
	}
}

func (w *work) changed(id quinta.UserID, device quinta.DeviceID, what string) {
	w.emit(e2ee.Event{Kind: e2ee.EventDevice, User: id, Device: device, Detail: what})
}

// blocked reports whether nothing may be sent to a user: they were verified, and
// now have a device in doubt.
func (u *userRecord) blocked() bool {
	verified, doubt := false, false
	for _, d := range u.Devices {
		verified = verified || d.Decision == DecideVerified
		doubt = doubt || !d.Gone && !d.known() && d.Decision == DecideNone
	}
	return verified && doubt
}

// receives reports whether a device is given keys.
func (w *work) receives(d *deviceRecord) bool {
	return !d.Gone && d.known() && (!w.m.policy.VerifiedOnly || d.Decision == DecideVerified)
}

// A DeviceInfo is a device as this one knows it.
type DeviceInfo struct {
	User        quinta.UserID
	ID          quinta.DeviceID
	Fingerprint string
	Trust       quinta.Trust
	// Self says that it is this device, and Gone that it is no longer listed.
	Self, Gone bool
}

// Fingerprint is what two people compare: 40 hexadecimal digits in groups of
// five, from a hash of the user and both public keys.
func (d *Device) Fingerprint() string {
	sum := sha256.Sum256(fields("quinta-keysrv-fingerprint/1", string(d.User), string(d.Signing.Bytes()), string(d.Agreement.Bytes())))
	text := hex.EncodeToString(sum[:20])
	var groups []string
	for g := range slices.Chunk([]byte(text), 5) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, " ")
}

// Devices returns the devices of a user, by id; known is false if they were not
// asked for yet.
func (m *Machine) Devices(tx e2ee.Tx, id quinta.UserID) (out []DeviceInfo, known bool, err error) {
	_, err = m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		known = u.Listed != 0
		for _, name := range slices.Sorted(maps.Keys(u.Devices)) {
			d := u.Devices[name]
			i := DeviceInfo{User: id, ID: name, Fingerprint: d.Device.Fingerprint(), Trust: d.trust(), Self: id == m.user && name == w.meta.Device, Gone: d.Gone}
			if i.Self {
				i.Trust = quinta.TrustVerified
			}
			out = append(out, i)
		}
		return nil
	})
	return out, known, err
}

// Refresh schedules a lookup of a user's devices.
func (m *Machine) Refresh(tx e2ee.Tx, id quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		if err := CheckJID(id); err != nil {
			return err
		}
		return w.outdate(id)
	})
	return err
}

// Decide stores the user's conclusion about a device that they compared.
func (m *Machine) Decide(tx e2ee.Tx, id quinta.UserID, device quinta.DeviceID, what Decision) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if d == nil || id == m.user && device == w.meta.Device {
			return ErrUnknownDevice
		}
		if what != DecideNone && what != DecideVerified && what != DecideRejected {
			return ErrUnsupported
		}
		d.Decision, u.dirty = what, true
		if what == DecideRejected {
			// It keeps what it can open, and gets nothing new.
			if err := w.rotateWith(id); err != nil {
				return err
			}
		}
		return w.resign(id, u)
	})
}

// resign judges the devices of a user again after a decision.
func (w *work) resign(id quinta.UserID, u *userRecord) error {
	w.sign(u)
	listed := map[quinta.DeviceID]bool{}
	for name, d := range u.Devices {
		listed[name] = !d.Gone
	}
	w.compare(id, u, listed)
	w.retry(waitUser + string(id))
	u.After = 0
	if err := w.wakeOutbox(id); err != nil {
		return err
	}
	return w.tryAgain()
}

// Acknowledge accepts the devices of a user that are in doubt, without
// claiming that they were compared.
func (m *Machine) Acknowledge(tx e2ee.Tx, id quinta.UserID) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		for _, d := range u.Devices {
			if !d.Gone && !d.known() && d.Decision == DecideNone {
				d.Pinned = true
			}
		}
		u.dirty = true
		return w.resign(id, u)
	})
}
