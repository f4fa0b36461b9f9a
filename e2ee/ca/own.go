package ca

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/foreign"
)

// The lives of a key of this device.
const (
	// ownMade: it is stored, and on its way to be certified.
	ownMade = "made"
	// ownBlocked: the server wants something first: an approval.
	ownBlocked = "blocked"
	// ownActive: it is certified.
	ownActive = "active"
	// ownGrace: it was renewed; it still opens messages.
	ownGrace = "grace"
	// ownOver: it expired or was revoked; it still opens what is here.
	ownOver = "over"
	// ownRestored: it came out of a backup or from another device, and opens
	// messages for that one.
	ownRestored = "restored"
)

// An ownKey is a key pair of this device. It is as secret as the store.
type ownKey struct {
	ID      cert.Fingerprint `json:"id"`
	Use     cert.Use         `json:"use"`
	Profile string           `json:"profile"`
	// Private is PKCS #8, Cert the certificate; both in DER.
	Private []byte `json:"private"`
	Cert    []byte `json:"cert,omitempty"`
	State   string `json:"state"`
	// Number orders keys by when they were made here.
	Number e2ee.Seq `json:"number"`
	// Replaces is the key that this one renews.
	Replaces cert.Fingerprint `json:"replaces,omitempty"`
	// NotBefore, Expires and After are Unix milliseconds. After is when the
	// next step may be tried: another renewal, or the end of the grace.
	NotBefore int64 `json:"notBefore,omitempty"`
	Expires   int64 `json:"expires,omitempty"`
	After     int64 `json:"after,omitempty"`
}

// String hides the key.
func (k *ownKey) String() string { return "[redacted]" }

// GoString hides the key.
func (k *ownKey) GoString() string { return "[redacted]" }

// signer returns the private key.
func (k *ownKey) signer() (crypto.Signer, error) {
	p, err := x509.ParsePKCS8PrivateKey(k.Private)
	s, ok := p.(crypto.Signer)
	if err != nil || !ok {
		return nil, e2ee.Damaged("own/")
	}
	return s, nil
}

func (k *ownKey) cert() (*x509.Certificate, error) {
	c, err := foreign.Certificate(k.Cert)
	if err != nil {
		return nil, e2ee.Damaged("own/")
	}
	return c, nil
}

// valid reports whether the key is certified and its time is not over.
func (k *ownKey) valid(now time.Time) bool {
	return k.State == ownActive && now.UnixMilli() < k.Expires
}

// ownKeys returns the keys of this device, oldest first.
func (w *work) ownKeys() ([]*ownKey, error) {
	if w.keys != nil {
		return w.keys, nil
	}
	list := []*ownKey{}
	for e, err := range e2ee.Records[ownKey](w.tx, "own/") {
		if err != nil {
			return nil, err
		}
		list = append(list, &e.Value)
	}
	slices.SortFunc(list, func(a, b *ownKey) int { return cmp.Compare(a.Number, b.Number) })
	w.keys = list
	return list, nil
}

// saveKey stores a key of this device.
func (w *work) saveKey(k *ownKey) error {
	if _, err := w.ownKeys(); err != nil {
		return err
	}
	if !slices.Contains(w.keys, k) {
		w.keys = append(w.keys, k)
	}
	w.own = nil
	return e2ee.Store(w.tx, "own/"+string(k.ID), k)
}

// dropKey forgets a key of this device.
func (w *work) dropKey(k *ownKey) error {
	w.keys = slices.DeleteFunc(w.keys, func(o *ownKey) bool { return o == k })
	w.own = nil
	return w.tx.Delete("own/" + string(k.ID))
}

// findKey returns a key of this device, or nil.
func (w *work) findKey(fits func(*ownKey) bool) (*ownKey, error) {
	list, err := w.ownKeys()
	if err != nil {
		return nil, err
	}
	for _, k := range slices.Backward(list) {
		if fits(k) {
			return k, nil
		}
	}
	return nil, nil
}

func (w *work) keyByID(id cert.Fingerprint) (*ownKey, error) {
	return w.findKey(func(k *ownKey) bool { return k.ID == id })
}

// current returns the valid key for a use, or nil.
func (w *work) current(profile string, use cert.Use) (*ownKey, error) {
	return w.findKey(func(k *ownKey) bool { return k.Profile == profile && k.Use == use && k.valid(w.now) })
}

// self returns this device with all that it can open messages with. Sign is
// nil if it cannot sign now, Encrypt if it has no valid key to decrypt.
func (w *work) self() (*seal.Self, error) {
	if w.own != nil {
		return w.own, nil
	}
	list, err := w.ownKeys()
	if err != nil {
		return nil, err
	}
	s := &seal.Self{}
	for _, k := range slices.Backward(list) {
		if k.Profile != cert.ProfileSecure || k.Cert == nil {
			continue
		}
		key, err := k.signer()
		if err != nil {
			return nil, err
		}
		c, err := k.cert()
		if err != nil {
			return nil, err
		}
		switch {
		case k.Use == cert.UseSign && k.valid(w.now) && s.Sign == nil:
			s.Sign, s.SignKey = c, key
		case k.Use == cert.UseEncrypt && k.valid(w.now) && s.Encrypt == nil:
			s.Encrypt, s.EncryptKey = c, key
		case k.Use == cert.UseEncrypt:
			s.Older = append(s.Older, seal.Pair{Cert: c, Key: key})
		}
	}
	if anchors, found, err := e2ee.Load[Roots](w.tx, "anchors"); err != nil {
		return nil, err
	} else if found {
		if s.Chain, err = parseCerts(anchors.Intermediates); err != nil {
			return nil, e2ee.Damaged("anchors")
		}
	}
	w.own = s
	return s, nil
}

// newPrivate makes a key pair.
func (w *work) newPrivate(profile string) (crypto.Signer, []byte, error) {
	var key crypto.Signer
	var err error
	switch {
	case profile == cert.ProfileLegacy:
		key, err = cert.NewLegacyKey(w.m.env.Rand)
	case w.m.policy.RSA:
		key, err = rsa.GenerateKey(w.m.env.Rand, cert.MinRSA)
	default:
		key, err = newP256(w.m.env.Rand)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ca: making a key: %w", err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("ca: making a key: %w", err)
	}
	return key, raw, nil
}

// newP256 makes a key from bytes of rand. A number that is not below the order
// of the curve is drawn again, which happens once in 2^32.
func newP256(rand io.Reader) (*ecdsa.PrivateKey, error) {
	for range 16 {
		var b [32]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return nil, err
		}
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b[:])
		clear(b[:])
		if err == nil {
			return k, nil
		}
	}
	return nil, errors.New("the source of randomness gives no number that is less than the order of the curve")
}

// makeKey makes and stores a key of this device.
func (w *work) makeKey(profile string, use cert.Use, replaces cert.Fingerprint) (*ownKey, error) {
	key, raw, err := w.newPrivate(profile)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("ca: making a key: %w", err)
	}
	w.meta.Seq++
	k := &ownKey{ID: cert.FingerprintOf(spki), Use: use, Profile: profile, Private: raw, State: ownMade, Number: w.meta.Seq, Replaces: replaces}
	return k, w.saveKey(k)
}

// planOwn enrols the keys that this device needs, renews those that are due,
// and lets go of those that have ended.
func (w *work) planOwn() error {
	for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
		if err := w.planUse(cert.ProfileSecure, use); err != nil {
			return err
		}
	}
	legacy, err := w.wantsLegacy()
	if err != nil {
		return err
	}
	if legacy {
		if err := w.planUse(cert.ProfileLegacy, ""); err != nil {
			return err
		}
	}
	return w.planGrace()
}

// planUse sees to the key for one use.
func (w *work) planUse(profile string, use cert.Use) error {
	k, err := w.current(profile, use)
	if err != nil {
		return err
	}
	if k != nil {
		return w.planRenewal(k)
	}
	next, err := w.findKey(func(o *ownKey) bool {
		return o.Profile == profile && o.Use == use && (o.State == ownMade || o.State == ownBlocked) && o.Replaces == ""
	})
	if err != nil || next != nil && (next.State == ownBlocked || w.early(next.After, again)) {
		return err
	}
	if next == nil {
		if next, err = w.makeKey(profile, use, ""); err != nil {
			return err
		}
	}
	return w.enrol(next)
}

// enrol asks for the certificate of a key.
func (w *work) enrol(k *ownKey) error {
	there, err := w.reqs.any(func(r *reqRecord) bool { return r.Req.Kind == ReqEnrol && r.Req.Key == k.ID })
	if err != nil || there {
		return err
	}
	key, err := k.signer()
	if err != nil {
		return err
	}
	e := &Enrol{Profile: k.Profile, Use: k.Use}
	if k.Profile == cert.ProfileLegacy {
		if e.PublicKey, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			return fmt.Errorf("ca: enrolling: %w", err)
		}
		expires := w.now.Add(cert.Validity).UTC().Truncate(time.Second)
		e.Expires = &expires
	} else if e.Pop, err = cert.NewRequest(w.m.env.Rand, cert.Identity{User: w.m.user, Device: w.m.device, Use: k.Use}, key); err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqEnrol, Key: k.ID, Enrol: e}})
}

// doneEnrol takes the certificate of a first key.
func (w *work) doneEnrol(r *reqRecord, ans Ans) error {
	k, err := w.keyByID(r.Req.Key)
	if err != nil || k == nil || k.State != ownMade {
		return err
	}
	if ans.Code == "" {
		_, err := w.adopt(k, ans.Key)
		return err
	}
	k.After = w.now.Add(again).UnixMilli()
	switch ans.Code {
	case CodeApproval:
		k.State = ownBlocked
		w.emit(e2ee.Event{Kind: e2ee.EventVerification, User: w.m.user, Device: w.m.device, Detail: "approval " + string(k.ID)})
	case CodeConflict:
		// No one else can have made this key: the server remembers it from a
		// time that this store does not.
		return w.dropKey(k)
	case CodeState:
		// Perhaps one whose answer was lost: the list says.
		k.State = ownBlocked
		w.trouble("the server has another valid key of this device", ans)
		if err := w.outdate(w.m.user); err != nil {
			return err
		}
	default:
		w.trouble("a key is not certified", ans)
	}
	return w.saveKey(k)
}

// adopt takes the certificate that the authority made for a key of this
// device, after it was checked: it is for this key, device and use, and the
// chain leads to the pinned root. It reports whether it was taken.
func (w *work) adopt(k *ownKey, info *KeyInfo) (bool, error) {
	err := w.checkOwn(k, info)
	if err != nil {
		k.After = w.now.Add(again).UnixMilli()
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the certificate of this device is refused: " + err.Error()})
		return false, w.saveKey(k)
	}
	k.State, k.Cert, k.NotBefore, k.Expires, k.After = ownActive, info.Cert, info.NotBefore.UnixMilli(), info.Expires.UnixMilli(), 0
	if k.Profile == cert.ProfileSecure {
		c, err := k.cert()
		if err != nil {
			return false, err
		}
		k.NotBefore, k.Expires = c.NotBefore.UnixMilli(), c.NotAfter.UnixMilli()
	}
	if err := w.saveKey(k); err != nil {
		return false, err
	}
	if k.Use == cert.UseEncrypt {
		// Others may have sealed for it before the answer came here.
		w.retry(waitKeys)
	}
	for _, o := range slices.Clone(w.keys) {
		if o != k && o.Profile == k.Profile && o.Use == k.Use && o.State == ownActive && !o.valid(w.now) {
			if err := w.ownOver(o.ID); err != nil {
				return false, err
			}
		}
	}
	w.emit(e2ee.Event{Kind: e2ee.EventDevice, User: w.m.user, Device: w.m.device, Detail: "certified " + string(k.ID)})
	if u, err := w.user(w.m.user); err != nil || u.Fetched != 0 {
		return true, err
	}
	// From then on a device that its owner did not enrol is news to the owner.
	return true, w.outdate(w.m.user)
}

func (w *work) checkOwn(k *ownKey, info *KeyInfo) error {
	if info == nil || info.ID != k.ID || info.User != w.m.user || info.Device != w.m.device || info.Profile != k.Profile {
		return fmt.Errorf("%w: it belongs to another key or device", cert.ErrMismatch)
	}
	if k.Profile == cert.ProfileLegacy {
		return nil
	}
	c, err := foreign.Certificate(info.Cert)
	if err != nil || cert.KeyID(c) != k.ID {
		return fmt.Errorf("%w: it belongs to another key", cert.ErrMismatch)
	}
	v, err := w.verifier()
	if err != nil {
		return err
	}
	if v == nil {
		return cert.ErrUntrusted
	}
	// Whether the clocks agree is seen on each use: here it is judged in the
	// middle of its life.
	id, err := v.Verify(c, k.Use, c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore)/2), w.now)
	if err != nil && !errors.Is(err, cert.ErrNoStatus) && !errors.Is(err, cert.ErrExpired) {
		return err
	}
	if id.User != w.m.user || id.Device != w.m.device {
		return fmt.Errorf("%w: it names another device", cert.ErrMismatch)
	}
	return nil
}

// An OwnKey describes a key of this device.
type OwnKey struct {
	// ID is the fingerprint. Use is empty in the legacy profile.
	ID      cert.Fingerprint
	Use     cert.Use
	Profile string
	// State is "made", "blocked" (another device must approve it), "active",
	// "grace", "over" or "restored".
	State              string
	NotBefore, Expires time.Time
	// Cert is the certificate in DER, if there is one.
	Cert []byte
}

// OwnKeys returns the keys of this device, oldest first.
func (m *Machine) OwnKeys(tx e2ee.Tx) ([]OwnKey, error) {
	var out []OwnKey
	_, err := m.run(tx, func(w *work) error {
		list, err := w.ownKeys()
		for _, k := range list {
			state := k.State
			if state == ownActive && !k.valid(w.now) {
				state = ownOver
			}
			out = append(out, OwnKey{ID: k.ID, Use: k.Use, Profile: k.Profile, State: state, Cert: k.Cert,
				NotBefore: time.UnixMilli(k.NotBefore), Expires: time.UnixMilli(k.Expires)})
		}
		return err
	})
	return out, err
}

// Retry asks again for the certificates that the server refused because an
// approval was missing.
func (m *Machine) Retry(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		list, err := w.ownKeys()
		if err != nil {
			return err
		}
		for _, k := range slices.Clone(list) {
			if k.State == ownBlocked {
				k.State, k.After = ownMade, 0
				if err := w.saveKey(k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return err
}
