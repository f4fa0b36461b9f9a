package xmppclient

import (
	"context"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

var (
	_ client.DeviceJudge = (*Session)(nil)
	_ client.Approver    = (*Session)(nil)
	_ client.Restorer    = (*Session)(nil)
	_ client.Leaver      = (*Session)(nil)
)

// known returns what the machine knows of a user's devices, after it has asked
// for them.
func (s *Session) known(ctx context.Context, op string, user quinta.UserID) (out []keysrv.DeviceInfo, err error) {
	if user == "" {
		user = s.account.User
	}
	asked := false
	err = s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { asked = true; return nil, s.machine.Refresh(tx, user) })
	if err != nil || !asked {
		return nil, err
	}
	err = s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		list, fresh, err := s.machine.Devices(tx, user)
		out = list
		return fresh, err
	})
	return out, errorOf(op, err)
}

// Devices implements client.DeviceJudge. Devices that were signed out are left
// out.
func (s *Session) Devices(ctx context.Context, user quinta.UserID) ([]client.DeviceInfo, error) {
	list, err := s.known(ctx, "listing devices", user)
	var out []client.DeviceInfo
	for _, d := range list {
		if d.Gone {
			continue
		}
		info := client.DeviceInfo{Device: quinta.Device{User: d.User, ID: d.ID}, Trust: d.Trust, Fingerprint: d.Fingerprint, Own: d.User == s.account.User, Self: d.Self}
		if d.Self {
			info.Name = s.account.Name
		}
		out = append(out, info)
	}
	return out, err
}

// Rename implements client.DeviceJudge. Devices have no names on the key server.
func (s *Session) Rename(context.Context, quinta.DeviceID, string) error {
	return quinta.E(quinta.KindInvalid, "naming a device", "devices have no names on this network")
}

// SignOut implements client.DeviceJudge. The password is not needed: an approved
// device signs others out.
func (s *Session) SignOut(ctx context.Context, id quinta.DeviceID, _ client.Secret) error {
	const op = "signing a device out"
	if id == s.account.Device {
		return quinta.E(quinta.KindInvalid, op, "this is your own device: log out instead")
	}
	return s.retire(ctx, op, id)
}

// retire has the key server end a device.
func (s *Session) retire(ctx context.Context, op string, id quinta.DeviceID) error {
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := s.link.current()
	if err != nil {
		return err
	}
	return s.link.keys.call(live, c, s.account.Component, op, http.MethodDelete, dial.Path(wire.PathDevice, string(id)), nil, nil)
}

// Judge implements client.DeviceJudge.
func (s *Session) Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error {
	const op = "judging a device"
	what, ok := map[quinta.Trust]keysrv.Decision{quinta.TrustVerified: keysrv.DecideVerified, quinta.TrustRejected: keysrv.DecideRejected, quinta.TrustUnknown: keysrv.DecideNone}[t]
	if !ok {
		return quinta.E(quinta.KindInvalid, op, "a device can be accepted, rejected, or neither")
	}
	if user == "" {
		user = s.account.User
	}
	if _, err := s.known(ctx, op, user); err != nil {
		return err
	}
	return s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Decide(tx, user, id, what) })
}

// Acknowledge implements client.DeviceJudge.
func (s *Session) Acknowledge(ctx context.Context, user quinta.UserID) error {
	return s.do(ctx, "acknowledging a changed key", func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Acknowledge(tx, user) })
}

// Approve implements client.Approver: the device is this user's own, and other
// devices give it keys. A device has one pair of keys, and no ids of keys are
// named.
func (s *Session) Approve(ctx context.Context, id quinta.DeviceID, keys ...string) error {
	const op = "approving a device"
	if len(keys) > 0 {
		return quinta.E(quinta.KindInvalid, op, "on this network a device is approved as a whole: name no keys")
	}
	list, err := s.known(ctx, op, s.account.User)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(d keysrv.DeviceInfo) bool { return d.ID == id && !d.Gone && !d.Self }) {
		return errorOf(op, keysrv.ErrUnknownDevice)
	}
	return s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Approve(tx, id) })
}

// Give implements client.Approver. An approved device gets the keys that it
// asks for automatically.
func (s *Session) Give(ctx context.Context, id quinta.DeviceID) error { return s.Approve(ctx, id) }

// Retry implements client.Approver. Whether this device is approved is asked
// again.
func (s *Session) Retry(ctx context.Context) error {
	return s.do(ctx, "asking for the approval", func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.Receive(tx, keysrv.In{Changed: []quinta.UserID{s.account.User}})
	})
}

// Restored implements client.Restorer.
func (s *Session) Restored(ctx context.Context) error {
	return s.do(ctx, "reporting that the store was restored", func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Restored(tx) })
}

// Logout implements client.Leaver. The key server gives the device nothing any
// more; the login is removed from the store.
func (s *Session) Logout(ctx context.Context) error {
	err := s.retire(ctx, "signing out", s.account.Device)
	if err != nil && quinta.KindOf(err) != quinta.KindNotFound {
		return err
	}
	return s.runner.Store().Update(ctx, func(tx e2ee.Tx) error { return tx.Delete(keyAccount) })
}
