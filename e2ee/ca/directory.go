package ca

import (
	"crypto/x509"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
)

// The bounds of what is remembered of one user.
const (
	maxKeys    = 2000
	maxDevices = 200
	maxPast    = 256
)

// A userRecord is what is known of a user's keys.
type userRecord struct {
	// Fetched is when they were last looked up, in Unix milliseconds; zero if
	// never. Outdated says that they are to be looked up again.
	Fetched  int64 `json:"fetched"`
	Outdated bool  `json:"outdated"`
	// Generation grows whenever they become outdated, so that an answer to an
	// older question does not count as news.
	Generation uint64 `json:"generation"`
	// After is when they may be requested again after an answer of no use.
	After int64 `json:"after,omitempty"`
	// Gone says that the server has no such user.
	Gone    bool                              `json:"gone,omitempty"`
	Devices map[quinta.DeviceID]*deviceRecord `json:"devices"`
	// Refused are keys that are listed as valid and are not, of which the user
	// was told.
	Refused []cert.Fingerprint `json:"refused,omitempty"`
	// Legacy are the valid records of the legacy profile.
	Legacy []legacyKey `json:"legacy,omitempty"`
	dirty  bool
}

// A pin is a key that was seen first, or that follows on one by proven
// renewals.
type pin struct {
	ID   cert.Fingerprint `json:"id"`
	Cert []byte           `json:"cert"` // DER
	// First is the first key of the line.
	First cert.Fingerprint `json:"first"`
	// Listed says that the authority lists it as valid.
	Listed bool `json:"listed"`
}

// A deviceRecord is what is known of one device.
type deviceRecord struct {
	Sign    *pin `json:"sign,omitempty"`
	Encrypt *pin `json:"encrypt,omitempty"`
	// Past are earlier keys of the device, each with the first key of its
	// line.
	Past     map[cert.Fingerprint]cert.Fingerprint `json:"past,omitempty"`
	Decision Decision                              `json:"decision,omitempty"`
	// New are keys that replaced verified ones and were not renewed from them: they
	// count for nothing before the user has acknowledged them.
	New *deviceKeys `json:"new,omitempty"`
	// Warned is the key that the user was last warned of.
	Warned string `json:"warned,omitempty"`
}

// cert returns the certificate of a pinned key.
func (p *pin) cert() (*x509.Certificate, error) {
	c, err := foreign.Certificate(p.Cert)
	if err != nil {
		return nil, e2ee.Damaged("user/")
	}
	return c, nil
}

// deviceKeys are the keys of a device as the authority lists them now.
type deviceKeys struct {
	Sign    *pin `json:"sign,omitempty"`
	Encrypt *pin `json:"encrypt,omitempty"`
}

// user returns the record of a user, an empty one if the user is not known.
func (w *work) user(id quinta.UserID) (*userRecord, error) {
	if u := w.users[id]; u != nil {
		return u, nil
	}
	u, _, err := e2ee.Load[userRecord](w.tx, "user/"+string(id))
	if err != nil {
		return nil, err
	}
	if u.Devices == nil {
		u.Devices = map[quinta.DeviceID]*deviceRecord{}
	}
	w.users[id] = &u
	return &u, nil
}

// outdate schedules a look-up of a user's keys.
func (w *work) outdate(id quinta.UserID) error {
	if (cert.Identity{User: id, Device: "x", Use: cert.UseSign}).Check() != nil {
		return nil // no such user can have a key
	}
	u, err := w.user(id)
	if err != nil {
		return err
	}
	u.Outdated, u.dirty = true, true
	u.Generation++
	return w.tx.Put("lookup/"+string(id), []byte{1})
}

// known schedules a look-up of a user's keys if they never were looked up or are outdated,
// and reports whether they are at hand.
func (w *work) known(id quinta.UserID) (*userRecord, bool, error) {
	u, err := w.user(id)
	if err != nil {
		return nil, false, err
	}
	if u.Fetched == 0 && !u.Outdated {
		if err := w.outdate(id); err != nil {
			return nil, false, err
		}
	}
	return u, u.Fetched != 0 && !u.Outdated, nil
}

// planLookups asks for the keys of users whose keys are outdated.
func (w *work) planLookups() error {
	if ok, err := w.status(); err != nil || !ok {
		return err // nothing that came could be judged
	}
	entries, err := e2ee.Entries(w.tx, "lookup/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.UserID(e.Key[len("lookup/"):])
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if w.early(u.After, again) {
			continue
		}
		if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqKeys, User: id}, Generation: u.Generation}); err != nil {
			return err
		}
	}
	return nil
}

// doneKeys takes the keys of a user.
func (w *work) doneKeys(r *reqRecord, ans Ans) error {
	id := r.Req.User
	u, err := w.user(id)
	if err != nil {
		return err
	}
	u.dirty = true
	if ok, err := w.status(); err != nil || !ok {
		return err // the list ran out meanwhile: it is asked again
	}
	switch {
	case ans.Code == CodeNotFound:
		u.Gone = true
		if u.Fetched == 0 {
			u.Fetched = w.now.UnixMilli()
		}
		for _, d := range u.Devices {
			d.unlist()
		}
	case ans.Code != "" || ans.Keys == nil || ans.Keys.User != id || len(ans.Keys.Keys) > maxKeys:
		u.After = w.now.Add(again).UnixMilli()
		w.trouble("the keys of "+string(id)+" cannot be had", ans)
		return nil
	default:
		if id == w.m.user {
			if err := w.reviewOwn(ans.Keys.Keys); err != nil {
				return err
			}
		}
		early, err := w.takeKeys(id, u, ans.Keys.Keys)
		if err != nil {
			return err
		}
		u.Gone, u.Fetched = false, w.now.UnixMilli()
		if early {
			u.After = w.now.Add(again).UnixMilli()
			return nil
		}
	}
	if u.Generation == r.Generation {
		u.Outdated = false
		w.retry(waitUser + string(id))
		return w.tx.Delete("lookup/" + string(id))
	}
	return nil
}

func (d *deviceRecord) unlist() {
	for _, p := range []*pin{d.Sign, d.Encrypt} {
		if p != nil {
			p.Listed = false
		}
	}
}

// A listed key is one that the authority lists for a device, with its parsed
// certificate.
type listed struct {
	*KeyInfo
	cert *x509.Certificate
	// valid says that the authority lists it as valid and that it is.
	valid bool
}

// takeKeys compares what the authority lists with what is pinned. It reports
// whether something is listed as valid that is not yet so by the clock of this
// device: then the clock is slow, and the keys have to be looked up again when
// it was put right.
func (w *work) takeKeys(id quinta.UserID, u *userRecord, list []KeyInfo) (early bool, err error) {
	v, err := w.verifier()
	if err != nil {
		return false, err
	}
	byDevice := map[quinta.DeviceID][]listed{}
	u.Legacy = nil
	for i := range list {
		k := &list[i]
		if k.User != id {
			continue
		}
		if k.Profile == cert.ProfileLegacy {
			if l, ok := parseLegacy(k); ok && len(u.Legacy) < maxDevices {
				u.Legacy = append(u.Legacy, l)
			}
			continue
		}
		c, err := foreign.Certificate(k.Cert)
		if err != nil || cert.KeyID(c) != k.ID {
			continue
		}
		who, err := cert.IdentityOf(c)
		if err != nil || who.User != id || who.Device != k.Device || string(who.Use) != k.Use {
			continue
		}
		l := listed{KeyInfo: k, cert: c}
		if k.State == StateActive {
			_, err := v.Verify(c, who.Use, w.now, w.now)
			l.valid = err == nil
			early = early || err != nil && c.NotBefore.After(w.now)
			if err != nil && id != w.m.user && !slices.Contains(u.Refused, k.ID) && len(u.Refused) < maxDevices {
				u.Refused = append(u.Refused, k.ID)
				w.emit(e2ee.Event{Kind: e2ee.EventTrouble, User: id, Device: k.Device, Detail: "a key that the authority lists is refused: " + err.Error()})
			}
		}
		byDevice[k.Device] = append(byDevice[k.Device], l)
	}
	for device, d := range u.Devices {
		if byDevice[device] == nil {
			d.unlist()
		}
	}
	for _, device := range slices.Sorted(maps.Keys(byDevice)) {
		if err := w.takeDevice(id, device, u, byDevice[device]); err != nil {
			return false, err
		}
	}
	return early, nil
}

// takeDevice compares what the authority lists of one device with its pins.
func (w *work) takeDevice(id quinta.UserID, device quinta.DeviceID, u *userRecord, keys []listed) error {
	d, fresh := u.Devices[device], false
	if d == nil {
		if len(u.Devices) >= maxDevices {
			return nil
		}
		d, fresh = &deviceRecord{}, true
		u.Devices[device] = d
		// All that is there at first sight is taken as it is: older keys signed
		// what is still on its way.
		for i := range keys {
			line := lineOf(id, &keys[i], keys)
			d.past(keys[i].ID, line[len(line)-1].ID)
		}
	}
	before := u.Fetched != 0
	sign, signed := follow(id, d.Sign, keys, cert.UseSign, d)
	enc, sealed := follow(id, d.Encrypt, keys, cert.UseEncrypt, d)
	self := id == w.m.user && device == w.m.device
	switch {
	case signed && sealed:
		d.Sign, d.Encrypt = sign, enc
		if d.New != nil {
			d.New = nil // the line of the pinned keys continues
		}
	case self:
		// This device knows its keys itself; another one in its name is
		// what its owner must hear of.
		w.warn(id, device, d, sign, enc, "the authority lists a key for this device that the device did not make")
	case d.rolledBack(sign) || d.rolledBack(enc):
		w.warn(id, device, d, sign, enc, "an older key was presented again; it is not used")
	case d.Decision == Accept:
		d.New = &deviceKeys{Sign: sign, Encrypt: enc}
		w.warn(id, device, d, sign, enc, "a verified key has changed; nothing is sent until you acknowledge it")
	default:
		w.warn(id, device, d, sign, enc, "the key has changed without being renewed with the old one")
		d.pastPins()
		d.Sign, d.Encrypt = sign, enc
	}
	d.pastLines(id, keys)
	if fresh && before && !self && (d.Sign != nil && d.Sign.Listed || d.Encrypt != nil && d.Encrypt.Listed) {
		w.emit(e2ee.Event{Kind: e2ee.EventDevice, User: id, Device: device, Detail: "new"})
	}
	return nil
}

// warn tells loudly of a changed key, once for each key.
func (w *work) warn(id quinta.UserID, device quinta.DeviceID, d *deviceRecord, sign, enc *pin, text string) {
	mark := string(sign.id() + " " + enc.id())
	if d.Warned == mark {
		return
	}
	d.Warned = mark
	w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: id, Device: device, Detail: text})
}

func (p *pin) id() cert.Fingerprint {
	if p == nil {
		return ""
	}
	return p.ID
}

// past remembers an earlier key. For a device with very many, no more are
// stored: messages that they signed are refused.
func (d *deviceRecord) past(id, first cert.Fingerprint) {
	if d.Past == nil {
		d.Past = map[cert.Fingerprint]cert.Fingerprint{}
	}
	if d.Past[id] == "" && len(d.Past) < maxPast {
		d.Past[id] = first
	}
}

// pastLines takes in the keys that follow on one of the device's by proven
// renewals and are no longer valid: messages that they signed while they were
// valid are accepted.
func (d *deviceRecord) pastLines(id quinta.UserID, keys []listed) {
	for i := range keys {
		k := &keys[i]
		if k.valid || d.Past[k.ID] != "" || k.ID == d.Sign.id() || k.ID == d.Encrypt.id() {
			continue
		}
		for _, before := range lineOf(id, k, keys)[1:] {
			first := d.Past[before.ID]
			for _, p := range []*pin{d.Sign, d.Encrypt} {
				if p != nil && p.ID == before.ID {
					first = p.First
				}
			}
			if first != "" {
				d.past(k.ID, first)
				break
			}
		}
	}
}

// pastPins makes the pinned keys earlier ones.
func (d *deviceRecord) pastPins() {
	for _, p := range []*pin{d.Sign, d.Encrypt} {
		if p != nil {
			d.past(p.ID, p.First)
		}
	}
}

// rolledBack reports whether a key is an earlier one of the device.
func (d *deviceRecord) rolledBack(p *pin) bool {
	return p != nil && p.Listed && p.ID != d.Sign.id() && p.ID != d.Encrypt.id() && d.Past[p.ID] != ""
}

// lineOf returns a key and those before it that it follows on by proven
// renewals, newest first.
func lineOf(id quinta.UserID, k *listed, keys []listed) []*listed {
	line := []*listed{k}
	for range maxPast {
		i := slices.IndexFunc(keys, func(o listed) bool { return o.ID == k.Replaces && o.Use == k.Use })
		if i < 0 || slices.Contains(line, &keys[i]) || k.Renewal.Proves(cert.Identity{User: id, Device: k.Device, Use: cert.Use(k.Use)}, keys[i].cert.PublicKey, k.cert.PublicKey) != nil {
			break
		}
		k = &keys[i]
		line = append(line, k)
	}
	return line
}

// follow returns the pin that the listed keys of a device lead to: the same
// key, one that the pinned key has renewed, or, where none was pinned, the
// newest valid one. It reports false if the valid key is another one.
func follow(id quinta.UserID, old *pin, keys []listed, use cert.Use, d *deviceRecord) (*pin, bool) {
	var best *listed
	for i := range keys {
		if k := &keys[i]; k.Use == string(use) && k.valid && (best == nil || k.cert.NotBefore.After(best.cert.NotBefore)) {
			best = k
		}
	}
	if best == nil {
		if old == nil {
			return nil, true
		}
		gone := *old
		gone.Listed = false
		return &gone, true
	}
	line := lineOf(id, best, keys)
	now := &pin{ID: best.ID, Cert: best.cert.Raw, First: line[len(line)-1].ID, Listed: true}
	if old == nil {
		return now, true
	}
	if old.ID == best.ID {
		now.First = old.First
		return now, true
	}
	i := slices.IndexFunc(line, func(k *listed) bool { return k.ID == old.ID })
	if i < 0 {
		return now, false
	}
	now.First = old.First
	for _, k := range line[1:] {
		d.past(k.ID, old.First)
	}
	return now, true
}
