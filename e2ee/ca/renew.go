package ca

import (
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// A renewal is: make a key, ask for a nonce, send the statement that the old
// and the new key sign. What was sent is sent again as it is. If the answer is
// lost for long, or the nonce with it, the server's list of this device's keys says
// what became of it.

// planRenewal renews a valid key when its time has come.
func (w *work) planRenewal(k *ownKey) error {
	next, err := w.findKey(func(o *ownKey) bool { return o.Replaces == k.ID && o.State == ownMade })
	if err != nil {
		return err
	}
	if next == nil {
		due := k.NotBefore + (k.Expires-k.NotBefore)/100*int64(w.m.policy.renewAfter())
		if w.now.UnixMilli() < due || w.now.UnixMilli() < k.After {
			return nil
		}
		if next, err = w.makeKey(k.Profile, k.Use, k.ID); err != nil {
			return err
		}
	}
	if w.early(next.After, again) {
		return nil
	}
	busy, err := w.reqs.any(func(r *reqRecord) bool {
		return r.Req.Key == k.ID && (r.Req.Kind == ReqNonce || r.Req.Kind == ReqRenew)
	})
	if err != nil || busy {
		return err
	}
	if k.Profile == cert.ProfileLegacy {
		return w.renewLegacy(k, next)
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqNonce, Key: k.ID}})
}

// doneNonce makes the statement of a renewal.
func (w *work) doneNonce(r *reqRecord, ans Ans) error {
	old, next, err := w.renewing(r.Req.Key)
	if err != nil || next == nil {
		return err
	}
	if ans.Code != "" || ans.Nonce == "" || len(ans.Nonce) > 255 {
		return w.renewalRefused(next, ans)
	}
	oldKey, err := old.signer()
	if err != nil {
		return err
	}
	newKey, err := next.signer()
	if err != nil {
		return err
	}
	csr, err := cert.NewRequest(w.m.env.Rand, cert.Identity{User: w.m.user, Device: w.m.device, Use: next.Use}, newKey)
	if err != nil {
		return err
	}
	re, err := cert.NewRenewal(w.m.env.Rand, cert.RenewalStatement{Username: w.m.user, Device: w.m.device, OldKeyID: old.ID, NewKey: next.ID,
		Expires: w.now.Add(cert.Validity).Unix(), Nonce: ans.Nonce, Time: w.now.UnixMilli()}, oldKey, newKey)
	if err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqRenew, Key: old.ID,
		Renew: &Renew{CSR: csr, RenewalStatement: re.Statement, OldSignature: re.OldSignature, NewSignature: re.NewSignature}}})
}

// renewLegacy sends the renewal of a key of the legacy profile, which takes no
// nonce.
func (w *work) renewLegacy(old, next *ownKey) error {
	oldKey, err := old.signer()
	if err != nil {
		return err
	}
	newKey, err := next.signer()
	if err != nil {
		return err
	}
	r, ok := oldKey.(*rsa.PrivateKey)
	if !ok {
		return e2ee.Damaged("own/")
	}
	spki, err := x509.MarshalPKIXPublicKey(newKey.Public())
	if err != nil {
		return err
	}
	sig, err := cert.SignLegacyRenewal(spki, r)
	if err != nil {
		return err
	}
	expires := w.now.Add(cert.Validity).UTC().Truncate(time.Second)
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqRenew, Key: old.ID, Renew: &Renew{PublicKey: spki, Signature: sig, Expires: &expires}}})
}

// renewing returns a key that is being renewed and the one that takes its
// place, or nil.
func (w *work) renewing(id cert.Fingerprint) (old, next *ownKey, err error) {
	if old, err = w.keyByID(id); err != nil || old == nil {
		return nil, nil, err
	}
	next, err = w.findKey(func(o *ownKey) bool { return o.Replaces == id && o.State == ownMade })
	return old, next, err
}

// renewalRefused schedules a look-up of this user's keys, since the renewal may have been
// carried out before its answer was lost, and tries again later.
func (w *work) renewalRefused(next *ownKey, ans Ans) error {
	next.After = w.now.Add(again).UnixMilli()
	if err := w.saveKey(next); err != nil || ans.Code == CodeNonce {
		return err
	}
	w.trouble("a key is not renewed", ans)
	return w.outdate(w.m.user)
}

// doneRenew takes the certificate of a renewed key.
func (w *work) doneRenew(r *reqRecord, ans Ans) error {
	old, next, err := w.renewing(r.Req.Key)
	if err != nil || next == nil {
		return err
	}
	if ans.Code != "" {
		return w.renewalRefused(next, ans)
	}
	return w.renewed(old, next, ans.Key)
}

// renewed replaces the old key with the new one.
func (w *work) renewed(old, next *ownKey, info *KeyInfo) error {
	taken, err := w.adopt(next, info)
	if err != nil || !taken {
		return err
	}
	if old.Use == cert.UseSign {
		return w.dropKey(old) // it has nothing left to do
	}
	old.State, old.After = ownGrace, w.now.Add(w.grace()).UnixMilli()
	return w.saveKey(old)
}

// defaultGrace is how long a renewed key to decrypt with is kept at least.
const defaultGrace = 7 * 24 * time.Hour

// grace is how long a renewed key is kept before its retirement is requested.
func (w *work) grace() time.Duration {
	r, found, err := e2ee.Load[Roots](w.tx, "anchors")
	if err != nil || !found || r.Grace <= 0 || r.Grace > int64(seal.MaxAge/time.Second) {
		return defaultGrace
	}
	return max(defaultGrace, time.Duration(r.Grace)*time.Second)
}

// planGrace ends the grace of keys, when it has ended and nothing waits
// here; whether something waits at the server, the server says.
func (w *work) planGrace() error {
	list, err := w.ownKeys()
	if err != nil {
		return err
	}
	for _, k := range slices.Clone(list) {
		if k.State != ownGrace || w.now.UnixMilli() < k.After {
			continue
		}
		waits, err := w.anyWaiting()
		if err != nil || waits {
			return err
		}
		if w.now.UnixMilli() >= k.Expires {
			// No one has sealed for it since long, and no server knows it as
			// valid.
			if err := w.dropKey(k); err != nil {
				return err
			}
			continue
		}
		if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqRetire, Key: k.ID}}); err != nil {
			return err
		}
	}
	return nil
}

// retireAgain is how long after a refusal a retirement is requested again.
const retireAgain = time.Hour

// doneRetire forgets a key whose grace has ended.
func (w *work) doneRetire(r *reqRecord, ans Ans) error {
	k, err := w.keyByID(r.Req.Key)
	if err != nil || k == nil || k.State != ownGrace {
		return err
	}
	if ans.Code == "" {
		return w.dropKey(k)
	}
	if ans.Code != CodeUndelivered {
		w.trouble("a key is not retired", ans)
	}
	k.After = w.now.Add(retireAgain).UnixMilli()
	return w.saveKey(k)
}

// Renew renews the keys of this device now, whatever time they have left.
func (m *Machine) Renew(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		list, err := w.ownKeys()
		if err != nil {
			return err
		}
		for _, k := range slices.Clone(list) {
			if !k.valid(w.now) {
				continue
			}
			if _, next, err := w.renewing(k.ID); err != nil || next != nil {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := w.makeKey(k.Profile, k.Use, k.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Revoke revokes a key of any device of this user, such as a lost one; reason
// is one of the names in Reasons.
func (m *Machine) Revoke(tx e2ee.Tx, keyID cert.Fingerprint, reason string) error {
	_, err := m.run(tx, func(w *work) error {
		if _, ok := cert.Reasons[reason]; !ok {
			return cert.ErrMalformed
		}
		return w.reqs.add(reqRecord{Req: Req{Kind: ReqRevoke, Key: keyID, Reason: reason}})
	})
	return err
}

// doneRevoke learns that a key was revoked.
func (w *work) doneRevoke(r *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("a key is not revoked", ans)
		return nil
	}
	w.meta.CRLDue = true
	if err := w.ownOver(r.Req.Key); err != nil {
		return err
	}
	return w.outdate(w.m.user)
}

// ownOver notes that a key of this device is no longer valid. One to decrypt
// with still opens what is here.
func (w *work) ownOver(id cert.Fingerprint) error {
	k, err := w.keyByID(id)
	if err != nil || k == nil || k.State == ownRestored {
		return err
	}
	if k.Use == cert.UseSign {
		return w.dropKey(k)
	}
	k.State = ownOver
	return w.saveKey(k)
}

// reviewOwn compares the keys of this device with what the server lists: it
// finds renewals whose answer was lost, and keys that are no longer valid.
func (w *work) reviewOwn(list []KeyInfo) error {
	for i := range list {
		info := &list[i]
		k, err := w.keyByID(info.ID)
		if err != nil {
			return err
		}
		if k == nil || info.Device != w.m.device {
			continue
		}
		switch {
		case info.State == StateActive && k.State == ownMade && k.Replaces != "":
			old, err := w.keyByID(k.Replaces)
			if err != nil {
				return err
			}
			if old != nil {
				err = w.renewed(old, k, info)
			} else {
				_, err = w.adopt(k, info)
			}
			if err != nil {
				return err
			}
		case info.State == StateRevoked && (k.State == ownActive || k.State == ownGrace):
			w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: w.m.user, Device: w.m.device, Detail: "a key of this device was revoked: " + string(info.ID)})
			if err := w.ownOver(k.ID); err != nil {
				return err
			}
		case info.State != StateActive && info.State != StatePending && k.State == ownActive && info.Profile == cert.ProfileSecure:
			// It was renewed by a state of this store that is lost.
			if err := w.ownOver(k.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
