package matrix

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// A Decision is the user's conclusion about one device.
type Decision int

// The decisions of the specification, "Verifying devices".
const (
	// Skip: the device was not verified, and there is no suspicion.
	Skip Decision = iota
	// Accept: the device is its owner's.
	Accept
	// Reject: nothing is sent to the device and nothing from it is trusted.
	Reject
)

// parseCross reads one cross-signing key object: of that user and usage, with
// exactly one key, whose id is itself.
func parseCross[R key.SigningRole](raw []byte, user quinta.UserID, usage string) (p key.SigningPublic[R], err error) {
	var c struct {
		User  quinta.UserID     `json:"user_id"`
		Usage []string          `json:"usage"`
		Keys  map[string]string `json:"keys"`
	}
	if err := exactjson.Unmarshal(raw, &c); err != nil || c.User != user || !slices.Contains(c.Usage, usage) || len(c.Keys) != 1 {
		return p, ErrMalformed
	}
	for id, text := range c.Keys {
		p, err = key.ParseSigningPublic[R](text)
		if err != nil || id != edPrefix+p.String() {
			return key.SigningPublic[R]{}, ErrMalformed
		}
	}
	return p, nil
}

// verifyBy checks the signature of a user's key on raw.
func verifyBy[R key.SigningRole](raw []byte, user quinta.UserID, public key.SigningPublic[R]) bool {
	return canonicaljson.Verify(raw, string(user), edPrefix+public.String(), public.Verify) == nil
}

// takeIdentity takes the cross-signing keys of a user as a server lists them.
// The first master key is pinned; another one is shown, and nothing that it
// signed counts for more than a stranger's until it is acknowledged.
func (w *work) takeIdentity(id quinta.UserID, u *userRecord, master, selfSigning, userSigning json.RawMessage) {
	pub, err := parseCross[key.Master](master, id, "master")
	if err != nil {
		// A server that hides the master key gains nothing: the last one stays.
		return
	}
	u.Master, u.MasterRaw = pub, master
	u.SelfSigning, u.UserSigning = key.SelfSigningPublic{}, key.UserSigningPublic{}
	if ssk, err := parseCross[key.SelfSigning](selfSigning, id, "self_signing"); err == nil && verifyBy(selfSigning, id, pub) {
		u.SelfSigning = ssk
	}
	if usk, err := parseCross[key.UserSigning](userSigning, id, "user_signing"); err == nil && id == w.m.user && verifyBy(userSigning, id, pub) {
		u.UserSigning = usk
	}
	if u.Pinned.IsZero() {
		u.Pinned = pub
	}
	changed := u.Pinned != pub
	if changed && !u.Changed {
		detail := "identity changed"
		if w.identityVerified(id, u) {
			detail = "a verified identity has changed"
			u.Verified = true // whoever vouched for it, it was verified
		}
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: id, Detail: detail})
	}
	u.Changed = changed
	if !changed && !u.Verified && id != w.m.user && w.vouched(u) {
		u.Verified = true
	}
}

// vouched reports whether the user-signing key of this user signed the master key of
// u. That counts only if this user's master key is known to be theirs.
func (w *work) vouched(u *userRecord) bool {
	own, err := w.user(w.m.user)
	if err != nil || !w.meta.MasterTrusted || own.Changed || own.UserSigning.IsZero() {
		return false
	}
	return verifyBy(u.MasterRaw, w.m.user, own.UserSigning)
}

// identityVerified reports whether the pinned master key of a user was
// verified.
func (w *work) identityVerified(id quinta.UserID, u *userRecord) bool {
	if id == w.m.user {
		return w.meta.MasterTrusted
	}
	return u.Verified
}

// signs reports whether the user's self-signing key signed a device.
func (u *userRecord) signs(id quinta.UserID, device quinta.DeviceID, d *deviceRecord) bool {
	if u.SelfSigning.IsZero() || string(device) == u.Master.String() || string(device) == u.SelfSigning.String() {
		return false
	}
	return verifyBy(d.Raw, id, u.SelfSigning)
}

// trust says how far a device is known.
func (w *work) trust(id quinta.UserID, u *userRecord, d *deviceRecord) quinta.Trust {
	switch {
	case d == nil:
		return quinta.TrustUnknown
	case d.Decision == Reject:
		return quinta.TrustRejected
	case d.Changed:
		return quinta.TrustUnknown
	case id == w.m.user && d.Ed25519 == w.acc.Signing():
		return quinta.TrustVerified
	case d.Decision == Accept:
		return quinta.TrustVerified
	case d.Signed && !u.Changed && w.identityVerified(id, u):
		return quinta.TrustVerified
	case d.Signed && !u.Changed:
		return quinta.TrustSigned
	}
	return quinta.TrustPinned
}

// A DeviceInfo is what is known about one device.
type DeviceInfo struct {
	quinta.Device
	// Ed25519 is the fingerprint to show and to compare; Curve is the identity
	// key.
	Ed25519  key.DeviceSigningPublic
	Curve    key.IdentityPublic
	Trust    quinta.Trust
	Decision Decision
	// Signed: the owner's self-signing key signed the device.
	Signed bool
}

// Devices returns the present devices of a user, by id.
func (m *Machine) Devices(tx e2ee.Tx, id quinta.UserID) ([]DeviceInfo, error) {
	var out []DeviceInfo
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
			if d := u.Devices[device]; !d.Gone {
				out = append(out, DeviceInfo{
					Device:  quinta.Device{User: id, ID: device, Name: d.Name},
					Ed25519: d.Ed25519, Curve: d.Curve, Trust: w.trust(id, u, d), Decision: d.Decision, Signed: d.Signed,
				})
			}
		}
		return nil
	})
	return out, err
}

// Decide stores the user's decision on a device, which they know by its
// fingerprint: a device with another Ed25519 key is ErrMismatch. A rejected
// device gets no keys from then on.
func (m *Machine) Decide(tx e2ee.Tx, id quinta.UserID, device quinta.DeviceID, fingerprint key.DeviceSigningPublic, decision Decision) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if d == nil || d.Gone {
			return ErrUnknownDevice
		}
		if d.Ed25519 != fingerprint || d.Changed {
			return ErrMismatch
		}
		d.Decision, u.dirty = decision, true
		w.meta.Epoch++
		if decision == Accept && id == w.m.user {
			if err := w.askAgain(); err != nil {
				return err
			}
			return w.signOwnDevice(device, d)
		}
		return nil
	})
}

// An IdentityInfo is what is known of a user's cross-signing identity.
type IdentityInfo struct {
	// Master is the current master key, zero if the user has none; Pinned is
	// the one that counts.
	Master, Pinned key.MasterPublic
	Verified       bool
	// Changed: Master is not Pinned and no one acknowledged it.
	Changed bool
	// SignsThis: of this user's identity, that it signed this device.
	SignsThis bool
}

// UserIdentity returns what is known of a user's cross-signing identity.
func (m *Machine) UserIdentity(tx e2ee.Tx, id quinta.UserID) (IdentityInfo, error) {
	var out IdentityInfo
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		out = IdentityInfo{Master: u.Master, Pinned: u.Pinned, Verified: w.identityVerified(id, u), Changed: u.Changed}
		if d := u.Devices[m.device]; id == m.user && d != nil {
			out.SignsThis = d.Signed
		}
		return nil
	})
	return out, err
}

// ChangedIdentities returns the other users whose identity is not the pinned
// one and who were not acknowledged since.
func (m *Machine) ChangedIdentities(tx e2ee.Tx) ([]quinta.UserID, error) {
	var out []quinta.UserID
	for u, err := range e2ee.Records[userRecord](tx, "user/") {
		if err != nil {
			return nil, err
		}
		if id := quinta.UserID(u.Name); u.Value.Changed && id != m.user {
			out = append(out, id)
		}
	}
	return out, nil
}

// Acknowledge takes a user's changed identity: the master key that the user
// of this device was shown becomes the pinned one, without being verified.
func (m *Machine) Acknowledge(tx e2ee.Tx, id quinta.UserID, master key.MasterPublic) error {
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if u.Master.IsZero() || u.Master != master {
			return ErrMismatch
		}
		u.Pinned, u.Changed, u.Verified, u.dirty = u.Master, false, false, true
		if id == w.m.user {
			w.meta.MasterTrusted = false
		}
		w.meta.Epoch++
		return nil
	})
	return err
}

// VerifyUser stores that a user's master key was compared, by e2ee/sas or by
// voice. If this user's user-signing key is here it signs the master key.
func (m *Machine) VerifyUser(tx e2ee.Tx, id quinta.UserID, master key.MasterPublic) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if u.Master.IsZero() || u.Master != master {
			return ErrMismatch
		}
		// A device whose id is a cross-signing key is there to confuse.
		if _, bad := u.Devices[quinta.DeviceID(master.String())]; bad {
			return ErrMismatch
		}
		u.Pinned, u.Changed, u.dirty = u.Master, false, true
		w.meta.Epoch++
		if id == w.m.user {
			w.meta.MasterTrusted = true
			if err := w.askAgain(); err != nil {
				return err
			}
			return w.recheck()
		}
		u.Verified = true
		return w.signUser(id, u)
	})
}

// recheck looks again whom the user-signing key of this user vouches for, after their
// master key became trusted.
func (w *work) recheck() error {
	if err := w.flushUsers(); err != nil {
		return err
	}
	entries, err := e2ee.Entries(w.tx, "user/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.UserID(e.Key[len("user/"):])
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if id != w.m.user && !u.Changed && !u.Verified && !u.Master.IsZero() && w.vouched(u) {
			u.Verified, u.dirty = true, true
		}
	}
	return nil
}
