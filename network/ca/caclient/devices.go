package caclient

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

var (
	_ client.DeviceJudge = (*Session)(nil)
	_ client.Verifier    = (*Session)(nil)
)

// Devices implements client.DeviceJudge.
func (s *Session) Devices(ctx context.Context, user quinta.UserID) ([]client.DeviceInfo, error) {
	own := user == "" || user == s.account.User
	if own {
		user = s.account.User
	}
	known, err := s.known(ctx, user, "")
	if err != nil {
		return nil, err
	}
	var out []client.DeviceInfo
	at := map[quinta.DeviceID]int{}
	for _, d := range known {
		at[d.ID] = len(out)
		trust := d.Trust
		if own && d.ID == s.account.Device {
			trust = quinta.TrustVerified // a device knows its own keys
		}
		out = append(out, client.DeviceInfo{Device: quinta.Device{User: user, ID: d.ID}, Trust: trust, Fingerprint: printable.Grouped(string(d.Fingerprint)),
			Own: own, Self: own && d.ID == s.account.Device})
	}
	if !own {
		return out, nil
	}
	list, err := s.ownDevices(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		i, ok := at[d.Device]
		if !ok {
			i = len(out)
			out = append(out, client.DeviceInfo{Device: quinta.Device{User: user, ID: d.Device}, Own: true, Self: d.Device == s.account.Device})
		}
		out[i].Name = printable.Line(d.Name)
		if d.Seen != nil {
			out[i].Seen = *d.Seen
		}
	}
	return out, nil
}

// maxDevices bounds how many devices of the account a server may list.
const maxDevices = 1000

// ownDevices asks for the devices of the account.
func (s *Session) ownDevices(ctx context.Context) ([]wire.Device, error) {
	const op = "listing devices"
	var list wire.DeviceList
	if err := s.link.ask(ctx, op, get(wire.PathDevices), nil, &list); err != nil {
		return nil, err
	}
	if len(list.Devices) > maxDevices {
		return nil, quinta.E(quinta.KindTooLarge, op, "the server lists too many devices")
	}
	var out []wire.Device
	for _, d := range list.Devices {
		if (cert.Identity{User: s.account.User, Device: d.Device, Use: cert.UseSign}).Check() == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

// appearWithin bounds the wait for a device that is named and not known: word
// of it may be on its way.
const appearWithin = 10 * time.Second

// known returns what the machine knows of a user's devices, after it has asked
// for them if it had to. If id is not empty it waits for that device.
func (s *Session) known(ctx context.Context, user quinta.UserID, id quinta.DeviceID) (out []ca.DeviceInfo, err error) {
	const op = "asking for devices"
	gone := false
	there := func(tx e2ee.Tx) (bool, error) {
		// The answer may have come before this was requested.
		if gone, err = s.machine.Gone(tx, user); err != nil || gone {
			return true, err
		}
		out, err = s.machine.Devices(tx, user)
		return slices.ContainsFunc(out, func(d ca.DeviceInfo) bool { return id == "" || d.ID == id && d.Fingerprint != "" }), err
	}
	within := ctx
	if id != "" {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, appearWithin)
		defer cancel()
	}
	err = s.carry(within, op, &errand{kind: ca.ReqKeys, what: string(user)}, func(tx e2ee.Tx) error { return s.machine.Track(tx, user) }, there)
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return nil, err
	}
	if err := s.look(ctx, func(tx e2ee.Tx) error { _, err := there(tx); return err }); err != nil {
		return nil, err
	}
	if gone {
		return nil, quinta.E(quinta.KindNotFound, op, "the server has no user "+printable.Line(string(user)))
	}
	return out, nil
}

// device returns one device of a user, or the only one if id is empty.
func (s *Session) device(ctx context.Context, op string, user quinta.UserID, id quinta.DeviceID) (ca.DeviceInfo, error) {
	if user == "" {
		user = s.account.User
	}
	if user == s.account.User && id == s.account.Device {
		return ca.DeviceInfo{}, quinta.E(quinta.KindInvalid, op, "this is your own device")
	}
	list, err := s.known(ctx, user, id)
	if err != nil {
		return ca.DeviceInfo{}, err
	}
	var found []ca.DeviceInfo
	for _, d := range list {
		if d.ID == id || id == "" && (user != s.account.User || d.ID != s.account.Device) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return ca.DeviceInfo{}, errorOf(op, ca.ErrUnknownDevice)
	case len(found) > 1:
		return ca.DeviceInfo{}, quinta.E(quinta.KindInvalid, op, "the user has several devices: name one")
	case found[0].Fingerprint == "":
		return ca.DeviceInfo{}, quinta.E(quinta.KindConflict, op, "the device has no valid keys")
	}
	return found[0], nil
}

// Rename implements client.DeviceJudge. The network has no call for it: a device
// keeps the name that it was given when it logged in.
func (s *Session) Rename(context.Context, quinta.DeviceID, string) error {
	return quinta.E(quinta.KindInvalid, "naming a device", "on this network a device keeps the name that it logged in with")
}

// SignOut implements client.DeviceJudge. The device's keys are revoked. For
// this device, see Logout.
func (s *Session) SignOut(ctx context.Context, id quinta.DeviceID, password client.Secret) error {
	const op = "signing a device out"
	if id == s.account.Device {
		return quinta.E(quinta.KindInvalid, op, "this is your own device: log out instead")
	}
	if (cert.Identity{User: s.account.User, Device: id, Use: cert.UseSign}).Check() != nil {
		return errorOf(op, ca.ErrUnknownDevice)
	}
	if password.Empty() {
		return quinta.E(quinta.KindUnauthenticated, op, "the password of the account is needed")
	}
	return s.link.ask(ctx, op, del(dial.Path(wire.PathDevice, string(id))), wire.RemoveRequest{Password: password.Reveal()}, nil)
}

// Judge implements client.DeviceJudge.
func (s *Session) Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error {
	const op = "judging a device"
	decision, ok := map[quinta.Trust]ca.Decision{
		quinta.TrustVerified: ca.Accept, quinta.TrustRejected: ca.Reject, quinta.TrustUnknown: ca.Skip,
	}[t]
	if !ok {
		return quinta.E(quinta.KindInvalid, op, "a device can be accepted, rejected, or neither")
	}
	if id == "" {
		return quinta.E(quinta.KindInvalid, op, "no device was named")
	}
	d, err := s.device(ctx, op, user, id)
	if err != nil {
		return err
	}
	return s.decide(ctx, op, d, decision)
}

func (s *Session) decide(ctx context.Context, op string, d ca.DeviceInfo, decision ca.Decision) error {
	return errorOf(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.Decide(tx, d.User, d.ID, d.Fingerprint, decision)
	}))
}

// Acknowledge implements client.DeviceJudge.
func (s *Session) Acknowledge(ctx context.Context, user quinta.UserID) error {
	return s.change(ctx, "acknowledging a changed key", func(tx e2ee.Tx) error { return s.machine.Acknowledge(tx, user) })
}

// Verify implements client.Verifier. Both sides see the same twelve words for
// their two devices, each independently: nothing is sent, and each side
// accepts for itself. For a user with one device, id may be empty.
func (s *Session) Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(ctx context.Context, s client.ShortStrings) (bool, error)) error {
	const op = "verifying"
	d, err := s.device(ctx, op, user, id)
	if err != nil {
		return err
	}
	var words []string
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { words, err = s.machine.DeviceWords(tx, d.User, d.ID); return err }); err != nil {
		return errorOf(op, err)
	}
	same, err := compare(ctx, client.ShortStrings{With: d.Device, Words: words})
	if err != nil {
		return err
	}
	if !same {
		return &quinta.Error{Kind: quinta.KindForbidden, Op: op, Err: fmt.Errorf("%w: the words are not the same, and the device is not accepted", client.ErrMismatch)}
	}
	return s.decide(ctx, op, d, ca.Accept)
}

// AwaitVerify implements client.Verifier. On this network, there are no requests.
func (s *Session) AwaitVerify(context.Context, func(quinta.Device) bool, func(context.Context, client.ShortStrings) (bool, error)) error {
	return quinta.E(quinta.KindInvalid, "verifying", "on this network there are no requests: verify the other device by name while the other side does the same")
}
