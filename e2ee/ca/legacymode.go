package ca

import (
	"cmp"
	"crypto/rsa"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/order"
)

// Conversations of the legacy profile. Both users chose it, each by their own
// call; a message that was read in it is marked as weak. What the profile does
// not protect is described in doc/security.md. A message is readable on one device of
// the peer, that with the peer's newest key: the scheme ties the key to one device.

// A legacyKey is a record of the legacy profile that the authority lists as
// valid.
type legacyKey struct {
	ID        cert.Fingerprint `json:"id"`
	Device    quinta.DeviceID  `json:"device"`
	Key       []byte           `json:"key"` // SubjectPublicKeyInfo
	NotBefore int64            `json:"notBefore"`
	Expires   int64            `json:"expires"`
	State     State            `json:"state"`
}

// parseLegacy reads what the authority lists.
func parseLegacy(k *KeyInfo) (legacyKey, bool) {
	if _, err := cert.ParseLegacyKey(k.PublicKey); err != nil || cert.FingerprintOf(k.PublicKey) != k.ID {
		return legacyKey{}, false
	}
	return legacyKey{ID: k.ID, Device: k.Device, Key: k.PublicKey, NotBefore: k.NotBefore.UnixMilli(), Expires: k.Expires.UnixMilli(), State: k.State}, true
}

// record is what the specification calls the key info.
func (k *legacyKey) record(user quinta.UserID) (*seal.LegacyRecord, error) {
	pub, err := cert.ParseLegacyKey(k.Key)
	if err != nil {
		return nil, e2ee.Damaged("user/")
	}
	valid := k.State == StateActive || k.State == StateGrace
	return &seal.LegacyRecord{Username: user, KeyID: k.ID, Key: pub, NotBefore: time.UnixMilli(k.NotBefore), Expires: time.UnixMilli(k.Expires), Revoked: !valid}, nil
}

// wantsLegacy reports whether this user chose the legacy profile anywhere.
func (w *work) wantsLegacy() (bool, error) {
	for _, c := range w.convs {
		if c.Chose && !c.Left {
			return true, nil
		}
	}
	for c, err := range e2ee.Records[convRecord](w.tx, "conv/") {
		if err != nil {
			return false, err
		}
		if c.Value.Chose && !c.Value.Left {
			return true, nil
		}
	}
	return false, nil
}

// A legacySecretRecord is a symmetric key, kept to read with and, by the side
// that made it, to write with.
type legacySecretRecord struct {
	Key []byte `json:"key"`
	// Peer is the key that it was wrapped for, Count how many messages were
	// sealed with it, Own that this device made it.
	Peer  cert.Fingerprint `json:"peer,omitempty"`
	Own   bool             `json:"own,omitempty"`
	Ready bool             `json:"ready,omitempty"`
	Count int              `json:"count,omitempty"`
	Time  int64            `json:"time"` // Unix milliseconds
}

// String hides the key.
func (r *legacySecretRecord) String() string { return "[redacted]" }

// GoString hides the key.
func (r *legacySecretRecord) GoString() string { return "[redacted]" }

func legacyKeyOf(conv quinta.RoomID, kid string) string {
	return "legacy/" + string(conv) + "\x00" + kid
}

// newestLegacy returns the newest valid records of a user, the newest last.
func (u *userRecord) newestLegacy(now time.Time) []legacyKey {
	var out []legacyKey
	for _, k := range u.Legacy {
		if k.State == StateActive && k.Expires > now.UnixMilli() {
			out = append(out, k)
		}
	}
	order.By(out, func(a, b legacyKey) int { return cmp.Compare(a.NotBefore/1000, b.NotBefore/1000) })
	return out
}

// sealLegacy seals a message of the legacy profile, once both users chose it.
func (w *work) sealLegacy(key string, o *outEntry, c *convRecord) error {
	peer, two := w.peerOf(o.Conv, c)
	own, err := w.current(cert.ProfileLegacy, "")
	if err != nil || !two || own == nil || !c.Chose {
		return err
	}
	if !slices.Contains(c.Chosen, peer) || !slices.Contains(c.Chosen, w.m.user) {
		if w.early(c.ChoiceAfter, again) {
			return nil
		}
		c.ChoiceAfter = w.now.Add(again).UnixMilli()
		return w.refresh(o.Conv, c)
	}
	u, ok, err := w.known(peer)
	if err != nil || !ok {
		return err
	}
	theirs := u.newestLegacy(w.now)
	if len(theirs) == 0 {
		return nil // it waits until the peer has a key
	}
	newest := theirs[len(theirs)-1]
	m, err := w.legacyMessage(o, own, peer, &newest)
	if err != nil {
		return err
	}
	d := &Deliver{Kind: KindMessage, Form: FormLegacy, Body: e2ee.JSON(m)}
	for _, k := range theirs {
		d.Keys = append(d.Keys, k.ID)
	}
	slices.Sort(d.Keys)
	o.Time, o.Form, o.To = w.now.UnixMilli(), FormLegacy, []quinta.UserID{peer}
	if err := e2ee.Store(w.tx, key, o); err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqMessage, Conv: o.Conv, Message: o.ID, Deliver: d}, Out: key})
}

// legacyMessage seals a body under the symmetric key that the peer's newest key
// has, or under a new one that it announces.
func (w *work) legacyMessage(o *outEntry, own *ownKey, peer quinta.UserID, to *legacyKey) (*seal.LegacyMessage, error) {
	for e, err := range e2ee.Records[legacySecretRecord](w.tx, "legacy/"+string(o.Conv)+"\x00") {
		if err != nil {
			return nil, err
		}
		r := e.Value
		age := w.now.UnixMilli() - r.Time
		if !r.Own || !r.Ready || r.Peer != to.ID || r.Count >= seal.SessionMessages || age < 0 || age >= seal.SessionLife.Milliseconds() {
			continue
		}
		s, err := seal.ParseLegacySecret(r.Key)
		if err != nil {
			return nil, e2ee.Damaged("legacy/")
		}
		r.Count++
		if err := e2ee.Store(w.tx, e.Key, &r); err != nil {
			return nil, err
		}
		return seal.SealLegacy(w.m.env.Rand, w.m.user, peer, s, o.Body)
	}
	s, err := seal.NewLegacySecret(w.m.env.Rand)
	if err != nil {
		return nil, err
	}
	m, err := seal.SealLegacy(w.m.env.Rand, w.m.user, peer, s, o.Body)
	if err != nil {
		return nil, err
	}
	rec, err := to.record(peer)
	if err != nil {
		return nil, err
	}
	k, err := own.signer()
	if err != nil {
		return nil, err
	}
	private, ok := k.(*rsa.PrivateKey)
	if !ok {
		return nil, e2ee.Damaged("own/")
	}
	if err := m.Announce(w.m.env.Rand, s, private, rec, w.m.policy.padding(), w.now); err != nil {
		return nil, err
	}
	return m, e2ee.Store(w.tx, legacyKeyOf(o.Conv, s.KID()), &legacySecretRecord{Key: s.Bytes(), Peer: to.ID, Own: true, Count: 1, Time: w.now.UnixMilli()})
}

// legacySent makes a symmetric key ready for the messages to come, now that the
// one that announced it is durable.
func (w *work) legacySent(r *reqRecord) error {
	m, err := seal.ParseLegacyMessage(r.Req.Deliver.Body)
	if err != nil {
		return e2ee.Damaged("req/")
	}
	key := legacyKeyOf(r.Req.Conv, m.Ext.E2EE.KID)
	s, found, err := e2ee.Load[legacySecretRecord](w.tx, key)
	if err != nil || !found || s.Ready {
		return err
	}
	s.Ready = true
	return e2ee.Store(w.tx, key, &s)
}

// openLegacy opens a message of the legacy profile. It names neither its number
// nor its time: that the same packet does not count twice is all that can be
// remembered.
func (w *work) openLegacy(r *waitRecord) (wait string, err error) {
	it := &r.Item
	m, err := seal.ParseLegacyMessage(it.Body)
	if err != nil {
		return "", err
	}
	u, err := w.user(it.From)
	if err != nil {
		return "", err
	}
	var rec *seal.LegacyRecord
	e := &m.Ext.E2EE
	if len(e.EK) > 0 {
		i := slices.IndexFunc(u.Legacy, func(k legacyKey) bool { return k.ID == e.KeyID })
		if i < 0 {
			if wait := waitUser + string(it.From); r.For != wait {
				return wait, w.outdate(it.From)
			}
			return "", fmt.Errorf("%w: the authority does not list the key that signed it", cert.ErrUntrusted)
		}
		if rec, err = u.Legacy[i].record(it.From); err != nil {
			return "", err
		}
	}
	reader, err := w.legacyReader(it.Conv, e.KID)
	if err != nil {
		return "", err
	}
	if err := w.mem.packet(it.Conv, it.Body); err != nil {
		return "", err
	}
	at := w.now
	if !it.Received.IsZero() && it.Received.Before(at) {
		at = it.Received // the key was valid when it was sent
	}
	plain, secret, err := reader.Open(m, it.From, rec, at)
	if err != nil {
		return "", err
	}
	b, err := parseBody(plain)
	if err != nil || !spoken[b.Kind] {
		b = &body{Kind: quinta.MessageText, Text: string(plain)} // of another program
	}
	if err := w.mem.message(it.Conv, it.ID, midRecord{From: it.From, Device: it.Device, Time: it.Received.UnixMilli()}); err != nil {
		return "", err
	}
	if err := w.mem.notePacket(it.Conv, it.Body, it.Received); err != nil {
		return "", err
	}
	if secret != nil {
		if err := w.keepLegacy(it, secret); err != nil {
			return "", err
		}
	}
	msg := it.claimed()
	msg.Weakness, msg.Trust = quinta.WeakLegacy, quinta.TrustPinned
	b.message(&msg)
	w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
	return "", nil
}

// keepLegacy keeps a symmetric key that the peer announced. One that is known
// stays as it is.
func (w *work) keepLegacy(it *Item, s *seal.LegacySecret) error {
	key := legacyKeyOf(it.Conv, s.KID())
	if have, err := w.tx.Get(key); err != nil || have != nil {
		return err
	}
	if err := w.hold(w.sessionsBound(), it.From, key); err != nil {
		return err
	}
	return e2ee.Store(w.tx, key, &legacySecretRecord{Key: s.Bytes(), Time: w.now.UnixMilli()})
}

// legacyReader returns what this device opens messages with.
func (w *work) legacyReader(conv quinta.RoomID, kid string) (*seal.LegacyReader, error) {
	r := &seal.LegacyReader{Self: w.m.user, Own: map[cert.Fingerprint]*rsa.PrivateKey{}, Saved: map[string]*seal.LegacySecret{}, Padding: w.m.policy.padding()}
	list, err := w.ownKeys()
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if k.Profile != cert.ProfileLegacy {
			continue
		}
		key, err := k.signer()
		if err != nil {
			return nil, err
		}
		p, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, e2ee.Damaged("own/")
		}
		r.Own[k.ID] = p
	}
	s, found, err := e2ee.Load[legacySecretRecord](w.tx, legacyKeyOf(conv, kid))
	if err != nil {
		return nil, err
	}
	if found && !s.Own { // what this device made, only this device writes with
		if r.Saved[kid], err = seal.ParseLegacySecret(s.Key); err != nil {
			return nil, e2ee.Damaged("legacy/")
		}
	}
	return r, nil
}
