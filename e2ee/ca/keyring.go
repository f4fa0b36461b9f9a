package ca

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/foreign"
)

// A keyring is what messages are opened with: the key pairs to decrypt with,
// and the secrets of sessions. It is what a backup holds and what one device of
// a user gives another. Keys to sign with are never in it.
type keyring struct {
	V        int           `json:"v"`
	Keys     []ringKey     `json:"keys"`
	Sessions []ringSession `json:"sessions,omitempty"`
}

// String hides the keys.
func (r *keyring) String() string { return "[redacted]" }

// GoString hides the keys.
func (r *keyring) GoString() string { return "[redacted]" }

type ringKey struct {
	Cert    []byte `json:"cert"`    // DER
	Private []byte `json:"private"` // PKCS #8
}

type ringSession struct {
	Offer seal.Offer    `json:"offer"`
	Conv  quinta.RoomID `json:"conv"`
	Peer  quinta.UserID `json:"peer"`
	Began int64         `json:"began"`
}

// The bounds of a keyring: of what is read, and of what is written so that a
// backup stays below the 128 KiB that a server takes.
const (
	maxRingKeys     = 1000
	maxRingSessions = 5000
	ringVersion     = 1
	ringKeyBytes    = 48 << 10
	ringBytes       = 80 << 10
)

// newKeyring makes a keyring of the keys of a device, oldest first, and of its
// sessions: the newest of each, as many as there is room for.
func newKeyring(keys []*ownKey, sessions []*sessionRecord) *keyring {
	r := &keyring{V: ringVersion, Keys: []ringKey{}}
	size := 0
	for _, k := range slices.Backward(keys) {
		if k.Profile != cert.ProfileSecure || k.Use != cert.UseEncrypt || k.Cert == nil {
			continue
		}
		if size += (len(k.Cert)+len(k.Private))*4/3 + 40; size > ringKeyBytes {
			break
		}
		r.Keys = append(r.Keys, ringKey{Cert: k.Cert, Private: k.Private})
	}
	newest := slices.SortedStableFunc(slices.Values(sessions), func(a, b *sessionRecord) int { return cmp.Compare(b.Time, a.Time) })
	for _, s := range newest {
		if size += 300 + len(s.Session.Conv) + len(s.Session.Peer); size > ringBytes {
			break
		}
		r.Sessions = append(r.Sessions, ringSession{Offer: s.Session.Offer, Conv: s.Session.Conv, Peer: s.Session.Peer, Began: s.Session.Began})
	}
	return r
}

// keyring returns what this device opens messages with.
func (w *work) keyring() (*keyring, error) {
	keys, err := w.ownKeys()
	if err != nil {
		return nil, err
	}
	sessions, err := sessionsOf(w.tx, "session/")
	if err != nil {
		return nil, err
	}
	return newKeyring(keys, sessions), nil
}

// sum names what a keyring holds.
func (r *keyring) sum() string {
	var ids []string
	for _, k := range r.Keys {
		ids = append(ids, sumOf(k.Cert))
	}
	for _, s := range r.Sessions {
		ids = append(ids, s.Offer.KID)
	}
	slices.Sort(ids)
	h := sha256.New()
	for _, id := range ids {
		h.Write([]byte(id + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// parseRing reads a keyring.
func parseRing(raw []byte) (*keyring, error) {
	r := &keyring{}
	if exactjson.Unmarshal(raw, r) != nil {
		return nil, fmt.Errorf("%w: a keyring", cert.ErrMalformed)
	}
	return r, r.check()
}

func (r *keyring) check() error {
	switch {
	case r.V != ringVersion:
		return fmt.Errorf("%w: version %d of a keyring", cert.ErrUnsupported, r.V)
	case len(r.Keys) > maxRingKeys || len(r.Sessions) > maxRingSessions:
		return fmt.Errorf("%w: a keyring is too large", cert.ErrMalformed)
	}
	return nil
}

// takeRing takes in what a keyring holds and is new here, and returns how much
// that is.
func (w *work) takeRing(r *keyring) (int, error) {
	if err := r.check(); err != nil {
		return 0, err
	}
	n := 0
	for _, k := range slices.Backward(r.Keys) {
		fresh, err := w.takeRingKey(k)
		if err != nil {
			return n, err
		}
		if fresh {
			n++
		}
	}
	for _, s := range r.Sessions {
		fresh, err := w.takeRingSession(s)
		if err != nil {
			return n, err
		}
		if fresh {
			n++
		}
	}
	if n > 0 {
		w.retry(waitKeys)
	}
	return n, nil
}

// takeRingKey stores a key pair of another device of this user.
func (w *work) takeRingKey(k ringKey) (bool, error) {
	own, ok := k.own(w.m.user)
	if !ok {
		return false, nil
	}
	if have, err := w.keyByID(own.ID); err != nil || have != nil {
		return false, err
	}
	w.meta.Seq++
	own.Number = w.meta.Seq
	return true, w.saveKey(own)
}

// own returns a key pair that a user's device may decrypt with. It reports false
// if the pair is not one of that user to encrypt to, or does not fit together.
func (k ringKey) own(user quinta.UserID) (*ownKey, bool) {
	c, err := foreign.Certificate(k.Cert)
	if err != nil {
		return nil, false
	}
	id, err := cert.IdentityOf(c)
	if err != nil || id.User != user || id.Use != cert.UseEncrypt || cert.CheckKey(c.PublicKey) != nil {
		return nil, false
	}
	p, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil || !samePublic(p, c.PublicKey) {
		return nil, false
	}
	return &ownKey{ID: cert.KeyID(c), Use: cert.UseEncrypt, Profile: cert.ProfileSecure, Private: slices.Clone(k.Private), Cert: slices.Clone(k.Cert), State: ownRestored,
		NotBefore: c.NotBefore.UnixMilli(), Expires: c.NotAfter.UnixMilli()}, true
}

// samePublic reports whether a private key is that of a public one.
func samePublic(private, public any) bool {
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		return p.PublicKey.Equal(public)
	case *rsa.PrivateKey:
		return p.PublicKey.Equal(public)
	}
	return false
}

// takeRingSession stores a session, to read in only.
func (w *work) takeRingSession(r ringSession) (bool, error) {
	s, ok := r.session(w.m.user, w.m.device)
	if !ok {
		return false, nil
	}
	key := sessionKey(r.Conv, r.Offer.KID)
	if have, err := w.tx.Get(key); err != nil || have != nil {
		return false, err
	}
	w.retry(waitSession + r.Offer.KID)
	return true, e2ee.Store(w.tx, key, s)
}

// session returns a session as a device reads in it. The device may have counted
// in it before it lost its state, so it never writes in it. It reports false if
// the session cannot be one of the device.
func (r ringSession) session(user quinta.UserID, device quinta.DeviceID) (*sessionRecord, bool) {
	if !CheckConv(r.Conv) {
		return nil, false
	}
	s, err := seal.NewSession(r.Offer, r.Conv, user, device, r.Peer, time.UnixMilli(r.Began))
	if err != nil {
		return nil, false
	}
	return &sessionRecord{Session: *s, Ready: true, ReadOnly: true, Time: r.Began}, true
}

// takeKeyring takes keys that another device of this user gives.
func (w *work) takeKeyring(c *seal.Content, device quinta.DeviceID, b *body) error {
	if c.From != w.m.user || b.Keys == nil {
		return fmt.Errorf("%w: keys come from the user's own devices only", cert.ErrMismatch)
	}
	n, err := w.takeRing(b.Keys)
	if err != nil {
		return err
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSecret, User: c.From, Device: device, Detail: fmt.Sprintf("keys %d", n)})
	return nil
}
