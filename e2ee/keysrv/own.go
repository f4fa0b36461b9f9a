package keysrv

import (
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// planOwn publishes this device and asks whether it is approved.
func (w *work) planOwn() error {
	if w.meta.Published && w.meta.Approved || w.early(w.meta.After) {
		return nil
	}
	if !w.meta.Published {
		return w.askOnce(Req{Kind: ReqDevice, Device: w.meta.Record})
	}
	return w.askOnce(Req{Kind: ReqDevices, User: w.m.user})
}

// doneDevice learns that this device is published.
func (w *work) doneDevice(_ *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.meta.After = w.in(again)
		w.trouble("publishing this device", ans)
		return nil
	}
	w.meta.Published = true
	u, err := w.user(w.m.user)
	if err != nil {
		return err
	}
	if err := w.takeDevices(w.m.user, u, ans.Devices); err != nil {
		return err
	}
	return w.judgeSelf(ans.Devices)
}

// judgeSelf finds out whether this device is the first one or was approved.
func (w *work) judgeSelf(list []Device) error {
	var self *Device
	others := map[quinta.DeviceID]*Device{}
	for i := range list {
		if d := &list[i]; d.Check() == nil && d.User == w.m.user {
			others[d.ID] = d
			if d.Same(w.meta.Record) {
				self = d
			}
		}
	}
	w.meta.Approved = false
	switch {
	case self == nil:
		w.meta.Published = false // the server has lost it
	case self.Approval == nil:
		w.meta.Approved = oldest(list, self.ID)
	default:
		by := others[self.Approval.By]
		w.meta.Approved = by != nil && self.ApprovedBy(by) == nil
	}
	if w.meta.Approved {
		w.meta.Told = false
		return nil
	}
	w.meta.After = w.in(again)
	if !w.meta.Told && self != nil {
		w.meta.Told = true
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Device: w.meta.Device, Detail: "this device is not approved yet: approve " + string(w.meta.Device) + " on another device of the account"})
	}
	return nil
}

// oldest reports whether no device that is in use was published before one.
func oldest(list []Device, id quinta.DeviceID) bool {
	for i := range list {
		switch {
		case list[i].ID == id:
			return true
		case !list[i].Retired:
			return false
		}
	}
	return false
}

// Approve confirms that another device, which the user has compared, belongs
// to this user. From then on, other devices give it keys.
func (m *Machine) Approve(tx e2ee.Tx, device quinta.DeviceID) error {
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(m.user)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if d == nil || d.Gone || device == w.meta.Device {
			return ErrUnknownDevice
		}
		if !w.meta.Approved {
			return fmt.Errorf("%w: this device itself is not approved", ErrUntrusted)
		}
		k, err := w.signing()
		if err != nil {
			return err
		}
		d.Decision, u.dirty = DecideVerified, true
		return w.askOnce(Req{Kind: ReqApprove, Target: device, Approval: d.Device.Approve(k, w.now.UnixMilli())})
	})
	return err
}

// doneApprove learns what became of an approval.
func (w *work) doneApprove(r *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("the approval of "+string(r.Req.Target), ans)
	}
	return w.outdate(w.m.user)
}
