package matrix

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

// ErrHaveIdentity is the error of making cross-signing keys where there are
// some already.
var ErrHaveIdentity = errors.New("matrix: the user has cross-signing keys")

// A CrossSigning holds the private cross-signing keys of a user. Keys that
// are not at hand are zero.
type CrossSigning struct {
	Master      key.MasterPrivate
	SelfSigning key.SelfSigningPrivate
	UserSigning key.UserSigningPrivate
}

// seeds is how the private keys are stored: base64 by the name of the secret.
type seeds map[string]string

// Names of the secrets of cross-signing and backup.
const (
	nameMaster      = "m.cross_signing.master"
	nameSelfSigning = "m.cross_signing.self_signing"
	nameUserSigning = "m.cross_signing.user_signing"
	nameBackup      = "m.megolm_backup.v1"
)

func (w *work) seeds() (seeds, error) {
	s, found, err := e2ee.Load[seeds](w.tx, "secrets")
	if !found {
		s = seeds{}
	}
	return s, err
}

func put[R key.SigningRole](s seeds, name string, k key.SigningPrivate[R]) {
	if !k.IsZero() {
		b := k.Secret()
		s[name] = base64text.EncodeSecret(b)
		clear(b)
	}
}

// signing returns a private key that is stored, or the zero value.
func signing[R key.SigningRole](s seeds, name string) key.SigningPrivate[R] {
	if s[name] == "" {
		return key.SigningPrivate[R]{}
	}
	k, err := key.ParseSigningPrivate[R](s[name])
	if err != nil {
		return key.SigningPrivate[R]{}
	}
	return k
}

// crossObject returns an unsigned cross-signing key object.
func (w *work) crossObject(usage, public string) ([]byte, error) {
	return canonicaljson.Marshal(map[string]any{
		"user_id": w.m.user, "usage": []string{usage}, "keys": map[string]string{edPrefix + public: public},
	})
}

// CreateCrossSigning makes the three cross-signing keys of a user that has
// none. They are uploaded by a request of kind ReqDeviceSigning; if the server
// wants more authentication, the caller adds "auth" to its body. Once the
// server has them they count, and this device is signed. Until then a second
// call changes nothing: the same keys are uploaded.
func (m *Machine) CreateCrossSigning(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(m.user)
		if err != nil {
			return err
		}
		s, err := w.seeds()
		if err != nil {
			return err
		}
		if !u.Master.IsZero() || s[nameMaster] != "" || !u.Known {
			return ErrHaveIdentity
		}
		return w.newCross()
	})
	return err
}

// ReplaceCrossSigning makes new cross-signing keys, whether the user has some
// or not. All who verified this user must do so again, and each of the user's devices has to
// be signed again. The old private keys stay until the server has taken the new
// ones.
func (m *Machine) ReplaceCrossSigning(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error { return w.newCross() })
	return err
}

// newCrossKey is where keys are kept that the server does not have yet.
const newCrossKey = "newsecrets"

// CrossSigningPending reports whether new cross-signing keys wait for the
// answer of the server.
func (m *Machine) CrossSigningPending(tx e2ee.Tx) (bool, error) {
	b, err := tx.Get(newCrossKey)
	return b != nil, err
}

// newCross makes keys and has them uploaded, unless some are on their way.
func (w *work) newCross() error {
	if b, err := w.tx.Get(newCrossKey); b != nil || err != nil {
		return err
	}
	msk, err := key.GenerateSigning[key.Master](w.m.env.Rand)
	if err != nil {
		return err
	}
	ssk, err := key.GenerateSigning[key.SelfSigning](w.m.env.Rand)
	if err != nil {
		return err
	}
	usk, err := key.GenerateSigning[key.UserSigning](w.m.env.Rand)
	if err != nil {
		return err
	}
	s := seeds{}
	put(s, nameMaster, msk)
	put(s, nameSelfSigning, ssk)
	put(s, nameUserSigning, usk)
	if err := e2ee.Store(w.tx, newCrossKey, s); err != nil {
		return err
	}
	return w.uploadCross(msk, ssk.Public().String(), usk.Public().String())
}

func (w *work) uploadCross(msk key.MasterPrivate, ssk, usk string) error {
	body := map[string]json.RawMessage{}
	for _, k := range []struct{ member, usage, public string }{
		{"master_key", "master", msk.Public().String()},
		{"self_signing_key", "self_signing", ssk},
		{"user_signing_key", "user_signing", usk},
	} {
		raw, err := w.crossObject(k.usage, k.public)
		if err != nil {
			return err
		}
		if k.usage == "master" {
			raw, err = w.sign(raw)
		} else {
			raw, err = canonicaljson.Sign(raw, string(w.m.user), edPrefix+msk.Public().String(), msk.Sign)
		}
		if err != nil {
			return err
		}
		body[k.member] = raw
	}
	return w.reqs.add(&record{Kind: ReqDeviceSigning, Method: "POST", Path: path("keys", "device_signing", "upload"), Body: e2ee.JSON(body)})
}

// doneDeviceSigning makes the new keys the ones that count, and signs with
// them what this device vouches for. If the server refused, they are thrown
// away, and those from before stay.
func (w *work) doneDeviceSigning(_ *record, ans Ans) error {
	made, found, err := e2ee.Load[seeds](w.tx, newCrossKey)
	if err != nil || !found {
		return err
	}
	if err := w.tx.Delete(newCrossKey); err != nil {
		return err
	}
	if ans.Failure == Refused {
		return nil
	}
	s, err := w.seeds()
	if err != nil {
		return err
	}
	maps.Copy(s, made)
	if err := e2ee.Store(w.tx, "secrets", s); err != nil {
		return err
	}
	u, err := w.user(w.m.user)
	if err != nil {
		return err
	}
	u.Pinned = signing[key.Master](s, nameMaster).Public()
	u.Changed = false
	w.meta.MasterTrusted = true
	w.outdate(u)
	return w.signAgain(u)
}

// signAgain signs this device, the user's devices that were accepted here, and
// the users that were verified here, with new keys.
func (w *work) signAgain(u *userRecord) error {
	if u.Devices[w.m.device] == nil {
		if err := w.signOwnDevice(w.m.device, new(deviceRecord)); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(u.Devices)) {
		d := u.Devices[id]
		d.Signed = false // by the key that was before
		if id != w.m.device && (d.Decision != Accept || d.Gone || d.Changed) {
			continue
		}
		if err := w.signOwnDevice(id, d); err != nil {
			return err
		}
	}
	if err := w.flushUsers(); err != nil {
		return err
	}
	entries, err := e2ee.Entries(w.tx, "user/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.UserID(e.Key[len("user/"):])
		other, err := w.user(id)
		if err != nil {
			return err
		}
		if id == w.m.user || !other.Verified || other.Changed || other.Master.IsZero() {
			continue
		}
		if err := w.signUser(id, other); err != nil {
			return err
		}
	}
	return nil
}

// ImportCrossSigning takes private cross-signing keys, as from secret storage.
// Each must be that of the public key that the server lists; with the master
// key the user's own identity becomes trusted. With the self-signing key this device
// is signed.
func (m *Machine) ImportCrossSigning(tx e2ee.Tx, c CrossSigning) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		u, err := w.user(m.user)
		if err != nil {
			return err
		}
		if !matches(c.Master, u.Master) || !matches(c.SelfSigning, u.SelfSigning) || !matches(c.UserSigning, u.UserSigning) {
			return ErrMismatch
		}
		s, err := w.seeds()
		if err != nil {
			return err
		}
		put(s, nameMaster, c.Master)
		put(s, nameSelfSigning, c.SelfSigning)
		put(s, nameUserSigning, c.UserSigning)
		if err := e2ee.Store(w.tx, "secrets", s); err != nil {
			return err
		}
		if !c.Master.IsZero() {
			if err := w.trustOwn(u); err != nil {
				return err
			}
		}
		d := u.Devices[m.device]
		if d == nil {
			return nil
		}
		return w.signOwnDevice(m.device, d)
	})
}

// matches reports whether k is zero or the private key of public.
func matches[R key.SigningRole](k key.SigningPrivate[R], public key.SigningPublic[R]) bool {
	return k.IsZero() || k.Public() == public
}

// trustOwn makes this user's master key the trusted one.
func (w *work) trustOwn(u *userRecord) error {
	u.Pinned, u.Changed, u.dirty = u.Master, false, true
	w.meta.MasterTrusted = true
	w.meta.Epoch++
	if err := w.recheck(); err != nil {
		return err
	}
	return w.askAgain()
}

// CrossSigning returns the private cross-signing keys that are here, for
// secret storage.
func (m *Machine) CrossSigning(tx e2ee.Tx) (CrossSigning, error) {
	var c CrossSigning
	_, err := m.run(tx, func(w *work) error {
		s, err := w.seeds()
		if err != nil {
			return err
		}
		c = CrossSigning{signing[key.Master](s, nameMaster), signing[key.SelfSigning](s, nameSelfSigning), signing[key.UserSigning](s, nameUserSigning)}
		return nil
	})
	return c, err
}

// signOwnDevice signs a device of the user with the self-signing key, if that is
// here, and uploads the signature.
func (w *work) signOwnDevice(device quinta.DeviceID, d *deviceRecord) error {
	s, err := w.seeds()
	if err != nil {
		return err
	}
	ssk := signing[key.SelfSigning](s, nameSelfSigning)
	if ssk.IsZero() || d.Signed {
		return nil
	}
	raw, err := w.tx.Get(rawKey(w.m.user, device))
	if err != nil {
		return err
	}
	if device == w.m.device {
		raw = w.meta.Keys
	}
	return w.uploadSignature(w.m.user, string(device), raw, ssk.Public().String(), ssk.Sign)
}

// signUser signs another user's master key with the user-signing key.
func (w *work) signUser(id quinta.UserID, u *userRecord) error {
	s, err := w.seeds()
	if err != nil {
		return err
	}
	usk := signing[key.UserSigning](s, nameUserSigning)
	if usk.IsZero() || !w.meta.MasterTrusted {
		return nil
	}
	return w.uploadSignature(id, u.Master.String(), u.MasterRaw, usk.Public().String(), usk.Sign)
}

func (w *work) uploadSignature(user quinta.UserID, name string, object []byte, public string, sign func([]byte) []byte) error {
	bare, err := canonicaljson.Delete(object, "unsigned", "signatures")
	if err != nil {
		return err
	}
	signed, err := canonicaljson.Sign(bare, string(w.m.user), edPrefix+public, sign)
	if err != nil {
		return err
	}
	return w.reqs.add(&record{
		Kind: ReqSignatures, Method: "POST", Path: path("keys", "signatures", "upload"),
		Body: e2ee.JSON(map[quinta.UserID]map[string]json.RawMessage{user: {name: signed}}),
	})
}

// doneSignatures asks for the user's devices again, to see the signature.
func (w *work) doneSignatures(*record, Ans) error {
	u, err := w.user(w.m.user)
	if err != nil {
		return err
	}
	w.outdate(u)
	return nil
}

// Signing reports whether cross-signing keys or signatures wait to be
// uploaded, so that a program which ends can see them off.
func (m *Machine) Signing(tx e2ee.Tx) (bool, error) {
	return newRequests(tx, new(e2ee.Seq)).any(func(r *record) bool { return r.Kind == ReqSignatures || r.Kind == ReqDeviceSigning })
}
