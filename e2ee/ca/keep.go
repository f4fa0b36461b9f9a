package ca

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
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
	Offer Offer         `json:"offer"`
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

// keyring collects what this device opens messages with, the newest first.
func (w *work) keyring() (*keyring, error) {
	r := &keyring{V: ringVersion, Keys: []ringKey{}}
	list, err := w.ownKeys()
	if err != nil {
		return nil, err
	}
	size := 0
	for _, k := range slices.Backward(list) {
		if k.Profile != ProfileSecure || k.Use != UseEncrypt || k.Cert == nil {
			continue
		}
		if size += (len(k.Cert)+len(k.Private))*4/3 + 40; size > ringKeyBytes {
			break
		}
		r.Keys = append(r.Keys, ringKey{Cert: k.Cert, Private: k.Private})
	}
	entries, err := w.entries("session/")
	if err != nil {
		return nil, err
	}
	var all []*sessionRecord
	for _, e := range entries {
		s := &sessionRecord{}
		if err := json.Unmarshal(e.Value, s); err != nil {
			return nil, damaged("session/")
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b *sessionRecord) int { return int(b.Time - a.Time) })
	for _, s := range all {
		if size += 300 + len(s.Session.Conv) + len(s.Session.Peer); size > ringBytes {
			break
		}
		r.Sessions = append(r.Sessions, ringSession{Offer: s.Session.Offer, Conv: s.Session.Conv, Peer: s.Session.Peer, Began: s.Session.Began})
	}
	return r, nil
}

// sum names what a keyring holds.
func (r *keyring) sum() string {
	var ids []string
	for _, k := range r.Keys {
		ids = append(ids, Fingerprint(k.Cert))
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
	if json.Unmarshal(raw, r) != nil {
		return nil, fmt.Errorf("%w: a keyring", ErrMalformed)
	}
	return r, r.check()
}

func (r *keyring) check() error {
	switch {
	case r.V != ringVersion:
		return fmt.Errorf("%w: version %d of a keyring", ErrUnsupported, r.V)
	case len(r.Keys) > maxRingKeys || len(r.Sessions) > maxRingSessions:
		return fmt.Errorf("%w: a keyring is too large", ErrMalformed)
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

// takeRingKey takes a key pair of another device of this user, to decrypt with
// only. What does not fit is left out.
func (w *work) takeRingKey(k ringKey) (bool, error) {
	c, err := x509.ParseCertificate(k.Cert)
	if err != nil {
		return false, nil
	}
	id, err := IdentityOf(c)
	if err != nil || id.User != w.m.user || id.Use != UseEncrypt || CheckKey(c.PublicKey) != nil {
		return false, nil
	}
	p, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil || !samePublic(p, c.PublicKey) {
		return false, nil
	}
	if have, err := w.keyByID(KeyID(c)); err != nil || have != nil {
		return false, err
	}
	w.meta.Seq++
	return true, w.saveKey(&ownKey{ID: KeyID(c), Use: UseEncrypt, Profile: ProfileSecure, Private: slices.Clone(k.Private), Cert: slices.Clone(k.Cert), State: ownRestored,
		Number: w.meta.Seq, NotBefore: c.NotBefore.UnixMilli(), Expires: c.NotAfter.UnixMilli()})
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

// takeRingSession takes a session, to read in only.
func (w *work) takeRingSession(r ringSession) (bool, error) {
	if !convForm.MatchString(string(r.Conv)) {
		return false, nil
	}
	s, err := NewSession(r.Offer, r.Conv, w.m.user, w.m.device, r.Peer, time.UnixMilli(r.Began))
	if err != nil {
		return false, nil
	}
	key := sessionKey(r.Conv, r.Offer.KID)
	if have, err := w.tx.Get(key); err != nil || have != nil {
		return false, err
	}
	w.retry(waitSession + r.Offer.KID)
	return true, w.put(key, &sessionRecord{Session: *s, Ready: true, ReadOnly: true, Time: r.Began})
}

// takeKeyring takes keys that another device of this user gives.
func (w *work) takeKeyring(c *Content, device quinta.DeviceID, b *body) error {
	if c.From != w.m.user || b.Keys == nil {
		return fmt.Errorf("%w: keys come from an own device only", ErrMismatch)
	}
	n, err := w.takeRing(b.Keys)
	if err != nil {
		return err
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSecret, User: c.From, Device: device, Detail: fmt.Sprintf("keys %d", n)})
	return nil
}

// A backupState is what is known of the sealed backup.
type backupState struct {
	// Asked says that the server was asked for it once, Exists that it has one,
	// and Tag its version.
	Asked  bool   `json:"asked,omitempty"`
	Exists bool   `json:"exists,omitempty"`
	Tag    string `json:"tag,omitempty"`
	// Enabled says that this device has its secret, Fetched that it has taken
	// in what that version holds, and Sum names what the server has.
	Enabled bool   `json:"enabled,omitempty"`
	Fetched bool   `json:"fetched,omitempty"`
	Sum     string `json:"sum,omitempty"`
	After   int64  `json:"after,omitempty"` // Unix milliseconds
}

// A keptSecret is the secret of the backup, for the uploads to come.
type keptSecret struct {
	Recovery   []byte `json:"recovery,omitempty"`
	Passphrase string `json:"passphrase,omitempty"`
}

// String hides the secret.
func (k keptSecret) String() string { return "[redacted]" }

// GoString hides the secret.
func (k keptSecret) GoString() string { return "[redacted]" }

const secretKey = "backupsecret"

func (w *work) keepSecret(s *BackupSecret) error {
	k := keptSecret{Passphrase: s.passphrase}
	if s.passphrase == "" {
		k.Recovery = s.recovery[:]
	}
	return w.put(secretKey, &k)
}

func (w *work) backupSecret() (*BackupSecret, error) {
	var k keptSecret
	found, err := w.get(secretKey, &k)
	if err != nil {
		return nil, err
	}
	if !found || k.Passphrase == "" && len(k.Recovery) != 32 {
		return nil, damaged(secretKey)
	}
	if k.Passphrase != "" {
		return FromPassphrase(k.Passphrase)
	}
	return FromRecovery([32]byte(k.Recovery)), nil
}

// planBackup asks once whether there is a backup, and uploads one whenever what
// it should hold is not what the server has.
func (w *work) planBackup() error {
	b := &w.meta.Backup
	if w.early(b.After) {
		return nil
	}
	if !b.Asked || b.Enabled && !b.Fetched {
		return w.askOnce(&reqRecord{Req: Req{Kind: ReqBackup}})
	}
	if !b.Enabled {
		return nil
	}
	busy, err := w.asked(func(r *reqRecord) bool { return r.Req.Kind == ReqPutBackup })
	if err != nil || busy {
		return err
	}
	ring, err := w.keyring()
	if err != nil || len(ring.Keys) == 0 || ring.sum() == b.Sum {
		return err
	}
	secret, err := w.backupSecret()
	if err != nil {
		return err
	}
	sealed, err := SealBackup(w.m.env.Rand, mustJSON(ring), secret)
	if err != nil {
		return err
	}
	return w.enqueue(&reqRecord{Req: Req{Kind: ReqPutBackup, Backup: &Backup{Sealed: sealed, Tag: b.Tag}}, Sum: ring.sum()})
}

// doneBackup takes in the backup that the server has.
func (w *work) doneBackup(_ *reqRecord, ans Ans) error {
	b := &w.meta.Backup
	if ans.Code == CodeNotFound {
		b.Asked, b.Exists, b.Tag, b.Fetched, b.Sum = true, false, "", true, ""
		return nil
	}
	if ans.Code != "" || ans.Backup == nil {
		b.After = w.now.Add(again).UnixMilli()
		w.trouble("the backup", ans)
		return nil
	}
	b.Asked, b.Exists, b.Tag = true, true, ans.Backup.Tag
	if !b.Enabled {
		return nil
	}
	secret, err := w.backupSecret()
	if err != nil {
		return err
	}
	if _, err := w.takeBackup(ans.Backup, secret); err != nil {
		if !isReason(err) {
			return err
		}
		// Another device has made one with another secret, or the server has
		// changed it: this one does not write over it.
		b.Enabled = false
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the backup has another secret, or was changed: unlock it again"})
		return w.tx.Delete(secretKey)
	}
	return nil
}

// takeBackup opens a backup and takes in what it holds.
func (w *work) takeBackup(s *Backup, secret *BackupSecret) (int, error) {
	raw, err := OpenBackup(s.Sealed, secret)
	if err != nil {
		return 0, err
	}
	ring, err := parseRing(raw)
	clear(raw)
	if err != nil {
		return 0, err
	}
	n, err := w.takeRing(ring)
	b := &w.meta.Backup
	b.Asked, b.Exists, b.Tag, b.Fetched, b.Sum = true, true, s.Tag, true, ring.sum()
	return n, err
}

// donePutBackup learns what became of an upload. If another device was faster,
// what it wrote is taken in first.
func (w *work) donePutBackup(r *reqRecord, ans Ans) error {
	b := &w.meta.Backup
	switch {
	case ans.Code == "" && ans.Backup != nil:
		b.Exists, b.Tag, b.Sum = true, ans.Backup.Tag, r.Sum
	case ans.Code == CodeConflict:
		b.Fetched = false
	default:
		b.After = w.now.Add(again).UnixMilli()
		w.trouble("the backup is not stored", ans)
	}
	return nil
}

// EnableBackup makes a backup under a secret, and puts into it, now and from now
// on, what this device opens messages with. If the server has one already that
// the secret does not open, it stays, and an EventTrouble says so; Restore is
// the way to one that exists.
func (m *Machine) EnableBackup(tx e2ee.Tx, secret *BackupSecret) error {
	_, err := m.run(tx, func(w *work) error {
		w.meta.Backup.Enabled, w.meta.Backup.Fetched, w.meta.Backup.After = true, false, 0
		return w.keepSecret(secret)
	})
	return err
}

// DisableBackup ends the uploads and forgets the secret on this device. What the
// server has it keeps.
func (m *Machine) DisableBackup(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		w.meta.Backup.Enabled = false
		return w.tx.Delete(secretKey)
	})
	return err
}

// Restore takes in a backup, as the server gave it, and goes on with it: what
// waits and can be opened now comes as events. It returns how many keys were
// new. A wrong secret and a changed backup are ErrTampered.
func (m *Machine) Restore(tx e2ee.Tx, b Backup, secret *BackupSecret) (n int, events []e2ee.Event, err error) {
	events, err = m.run(tx, func(w *work) error {
		if n, err = w.takeBackup(&b, secret); err != nil {
			return err
		}
		w.meta.Backup.Enabled = true
		if err := w.keepSecret(secret); err != nil {
			return err
		}
		w.emit(e2ee.Event{Kind: e2ee.EventSecret, User: w.m.user, Detail: fmt.Sprintf("backup %d", n)})
		return w.tryAgain()
	})
	return n, events, err
}

// A BackupInfo is what is known of the sealed backup.
type BackupInfo struct {
	// Exists says that the server has one, Enabled that this device has its
	// secret, and Keys how many keys and sessions it holds or will hold.
	Exists, Enabled bool
	Keys            int
}

// BackupState returns what is known of the sealed backup.
func (m *Machine) BackupState(tx e2ee.Tx) (BackupInfo, error) {
	var out BackupInfo
	_, err := m.run(tx, func(w *work) error {
		ring, err := w.keyring()
		if err != nil {
			return err
		}
		out = BackupInfo{Exists: w.meta.Backup.Exists, Enabled: w.meta.Backup.Enabled, Keys: len(ring.Keys) + len(ring.Sessions)}
		return nil
	})
	return out, err
}
