package ca

import (
	"cmp"
	"crypto/x509"
	"errors"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/order"
)

// A recipient is one key that a message is sealed for.
type recipient struct {
	target Target
	cert   *x509.Certificate
	id     cert.Fingerprint
}

// audience is for whom a message is sealed.
type audience struct {
	recipients []recipient
	withheld   []cert.Fingerprint
	// blocked is a user whose verified key changed.
	blocked quinta.UserID
	// wait says that something must be looked up first.
	wait bool
}

// audience returns for whom a message to users is sealed: every valid device
// of each, and of this user, this device included.
func (w *work) audience(users []quinta.UserID) (*audience, error) {
	a := &audience{}
	v, err := w.verifier()
	if err != nil {
		return nil, err
	}
	all := append([]quinta.UserID{w.m.user}, users...)
	slices.Sort(all)
	for _, id := range slices.Compact(all) {
		u, ok, err := w.known(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			a.wait = true
			continue
		}
		for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
			if err := w.admitDevice(a, v, id, device, u.Devices[device]); err != nil {
				return nil, err
			}
		}
	}
	self, err := w.self()
	if err != nil {
		return nil, err
	}
	if self.Encrypt == nil {
		a.wait = true
		return a, nil
	}
	a.recipients = append(a.recipients, recipient{Target{w.m.user, w.m.device}, self.Encrypt, cert.KeyID(self.Encrypt)})
	order.By(a.recipients, func(x, y recipient) int { return cmp.Compare(x.id, y.id) })
	slices.Sort(a.withheld)
	return a, nil
}

// stillFor reports whether a delivery that is on its way may leave, or leave
// again: it is sealed for this device and for those devices of some users that
// the authority lists and that admit lets have it, and for no other.
func (w *work) stillFor(d *Deliver, users []quinta.UserID, admit func(quinta.UserID, *deviceRecord) bool) (bool, error) {
	own, err := w.ownKeys()
	if err != nil {
		return false, err
	}
	may := map[cert.Fingerprint]bool{}
	for _, k := range own {
		may[k.ID] = true
	}
	for _, id := range append([]quinta.UserID{w.m.user}, users...) {
		u, err := w.user(id)
		if err != nil {
			return false, err
		}
		for _, d := range u.Devices {
			if d.New == nil && d.Encrypt != nil && d.Encrypt.Listed && admit(id, d) {
				may[d.Encrypt.ID] = true
			}
		}
		for _, k := range u.newestLegacy(w.now) {
			may[k.ID] = true
		}
	}
	return !slices.ContainsFunc(d.Keys, func(id cert.Fingerprint) bool { return !may[id] }), nil
}

// admitDevice adds one device to an audience.
func (w *work) admitDevice(a *audience, v *cert.Verifier, id quinta.UserID, device quinta.DeviceID, d *deviceRecord) error {
	if id == w.m.user && device == w.m.device {
		return nil
	}
	if d.New != nil {
		if d.New.Encrypt != nil && d.New.Encrypt.Listed || d.New.Sign != nil && d.New.Sign.Listed {
			a.blocked = id
		}
		return nil
	}
	if d.Encrypt == nil || !d.Encrypt.Listed {
		return nil
	}
	c, err := d.Encrypt.cert()
	if err != nil {
		return err
	}
	_, err = v.Verify(c, cert.UseEncrypt, w.now, w.now)
	switch {
	case errors.Is(err, cert.ErrNoStatus):
		a.wait = true
	case err != nil:
		// The server may still count it as valid: it is left out on purpose.
		a.withheld = append(a.withheld, d.Encrypt.ID)
	case !w.admits(id, d):
		a.withheld = append(a.withheld, d.Encrypt.ID)
	default:
		a.recipients = append(a.recipients, recipient{Target{id, device}, c, d.Encrypt.ID})
	}
	return nil
}
