package ca

import (
	"fmt"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// A Decision is the user's conclusion about one device.
type Decision int

// The decisions.
const (
	// Skip: the device was not verified, and there is no suspicion.
	Skip Decision = iota
	// Accept: the user compared the device's keys.
	Accept
	// Reject: nothing is sent to the device.
	Reject
)

// trust says how far a device is known.
func (d *deviceRecord) trust() quinta.Trust {
	switch {
	case d == nil:
		return quinta.TrustUnknown
	case d.Decision == Reject:
		return quinta.TrustRejected
	case d.Decision == Accept:
		return quinta.TrustVerified
	}
	return quinta.TrustPinned
}

// trustOf says how far the device is known that has signed with a key, and the
// line that the key is in; known is false if the key is none of the device's.
func (u *userRecord) trustOf(device quinta.DeviceID, key cert.Fingerprint) (t quinta.Trust, line cert.Fingerprint, known bool) {
	d := u.Devices[device]
	switch {
	case d == nil:
		return quinta.TrustUnknown, "", false
	case d.Sign.id() == key:
		return d.trust(), d.Sign.First, true
	case d.Past[key] != "":
		return d.trust(), d.Past[key], true
	case d.New != nil && d.New.Sign.id() == key:
		return quinta.TrustUnknown, d.New.Sign.First, true
	}
	return quinta.TrustUnknown, "", false
}

// admits reports whether a device gets messages.
func (w *work) admits(id quinta.UserID, d *deviceRecord) bool {
	t := d.trust()
	return t != quinta.TrustRejected && (t == quinta.TrustVerified || !w.m.policy.VerifiedOnly)
}

// A DeviceFingerprint names both keys of a device, as 64 hexadecimal digits: it
// is what users see and compare. A cert.Fingerprint names one key.
type DeviceFingerprint string

// deviceFingerprint names both keys of a device.
func deviceFingerprint(sign, enc *pin) DeviceFingerprint {
	if sign == nil || enc == nil {
		return ""
	}
	return DeviceFingerprint(sumOf([]byte("quinta-ca-device/1\x00" + sign.ID + "\x00" + enc.ID)))
}

// A DeviceInfo is what is known about one device.
type DeviceInfo struct {
	quinta.Device
	// Fingerprint identifies both keys, for display and comparison; Sign and
	// Encrypt are the ids of the keys.
	Fingerprint   DeviceFingerprint
	Sign, Encrypt cert.Fingerprint
	Trust         quinta.Trust
	Decision      Decision
	// Changed says that the verified keys were replaced by others, which are
	// the ones shown; nothing is sent until Acknowledge is called.
	Changed bool
}

// info returns what is shown of a device.
func (d *deviceRecord) info(id quinta.UserID, device quinta.DeviceID) DeviceInfo {
	sign, enc := d.shown()
	t := d.trust()
	if d.New != nil {
		t = quinta.TrustUnknown
	}
	return DeviceInfo{Device: quinta.Device{User: id, ID: device}, Fingerprint: deviceFingerprint(sign, enc), Sign: sign.id(), Encrypt: enc.id(),
		Trust: t, Decision: d.Decision, Changed: d.New != nil}
}

// shown returns the keys that the user is shown.
func (d *deviceRecord) shown() (sign, enc *pin) {
	if d.New != nil {
		return d.New.Sign, d.New.Encrypt
	}
	return d.Sign, d.Encrypt
}

func (d *deviceRecord) listed() bool {
	sign, enc := d.shown()
	return sign != nil && sign.Listed || enc != nil && enc.Listed
}

// Track schedules a lookup of a user's keys, if they are not known.
func (m *Machine) Track(tx e2ee.Tx, user quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		if err := (cert.Identity{User: user, Device: "x", Use: cert.UseSign}).Check(); err != nil {
			return err
		}
		_, _, err := w.known(user)
		return err
	})
	return err
}

// Gone reports whether the server said, when it was last asked, that it has no
// such user.
func (m *Machine) Gone(tx e2ee.Tx, user quinta.UserID) (bool, error) {
	var gone bool
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(user)
		gone = err == nil && u.Gone && !u.Outdated
		return err
	})
	return gone, err
}

// Current reports whether the known keys of a user are those that the
// authority last reported, with no sign that they have changed since.
func (m *Machine) Current(tx e2ee.Tx, user quinta.UserID) (bool, error) {
	var ok bool
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(user)
		ok = err == nil && u.Fetched != 0 && !u.Outdated
		return err
	})
	return ok, err
}

// Devices returns the devices of a user that the authority lists with a valid
// key, by id.
func (m *Machine) Devices(tx e2ee.Tx, user quinta.UserID) ([]DeviceInfo, error) {
	var out []DeviceInfo
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(user)
		if err != nil {
			return err
		}
		for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
			if d := u.Devices[device]; d.listed() {
				out = append(out, d.info(user, device))
			}
		}
		return nil
	})
	return out, err
}

// Decide stores the user's decision on a device, which they know by its
// fingerprint: a device with another one is ErrMismatch. A rejected device
// gets nothing from then on; if a device is accepted, messages that were
// waiting for this are sent.
func (m *Machine) Decide(tx e2ee.Tx, user quinta.UserID, device quinta.DeviceID, fingerprint DeviceFingerprint, decision Decision) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if decision < Skip || decision > Reject {
			return cert.ErrMalformed
		}
		u, err := w.user(user)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if d == nil {
			return ErrUnknownDevice
		}
		sign, enc := d.shown()
		if have := deviceFingerprint(sign, enc); have == "" || have != fingerprint {
			return fmt.Errorf("%w: the device has another fingerprint", cert.ErrMismatch)
		}
		d.acknowledge()
		d.Decision, u.dirty = decision, true
		return nil
	})
}

// acknowledge takes changed keys as the ones that count, unverified.
func (d *deviceRecord) acknowledge() {
	if d.New == nil {
		return
	}
	d.pastPins()
	d.Sign, d.Encrypt, d.New, d.Decision = d.New.Sign, d.New.Encrypt, nil, Skip
}

// Acknowledge accepts the changed keys of a user's devices from now on,
// without claiming that they were compared.
func (m *Machine) Acknowledge(tx e2ee.Tx, user quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(user)
		if err != nil {
			return err
		}
		for _, d := range u.Devices {
			d.acknowledge()
		}
		u.dirty = true
		return nil
	})
	return err
}

// DeviceWords returns the twelve words that the users of this device and
// another one compare; they represent both keys of both devices.
func (m *Machine) DeviceWords(tx e2ee.Tx, user quinta.UserID, device quinta.DeviceID) ([]string, error) {
	var out []string
	_, err := m.run(tx, func(w *work) error {
		sign, err := w.current(cert.ProfileSecure, cert.UseSign)
		if err != nil {
			return err
		}
		enc, err := w.current(cert.ProfileSecure, cert.UseEncrypt)
		if err != nil {
			return err
		}
		u, err := w.user(user)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if sign == nil || enc == nil || d == nil {
			return ErrUnknownDevice
		}
		theirs := deviceFingerprint(d.shown())
		if theirs == "" {
			return ErrUnknownDevice
		}
		out = seal.SafetyWords(deviceFingerprint(&pin{ID: sign.ID}, &pin{ID: enc.ID}), theirs)
		return nil
	})
	return out, err
}
