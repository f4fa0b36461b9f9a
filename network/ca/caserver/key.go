package caserver

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A key is one row of what was enrolled. Times are Unix milliseconds; nil is
// never.
type key struct {
	User      quinta.UserID
	ID        cert.Fingerprint
	Device    quinta.DeviceID
	Usage     string
	Profile   string
	SPKI      []byte
	Cert      []byte
	Serial    *string
	NotBefore int64
	Expires   int64
	Graced    *int64
	GraceEnd  *int64
	Retired   *int64
	Revoked   *int64
	Reason    *int64
	Replaces  *cert.Fingerprint
	Renewal   []byte
	Approver  *cert.Fingerprint
}

const keyColumns = `user_id, key_id, device, usage, profile, spki, cert, serial, not_before, expires, graced, grace_end, retired, revoked, reason, replaces, renewal, approver`

func (k *key) dest() []any {
	return []any{&k.User, &k.ID, &k.Device, &k.Usage, &k.Profile, &k.SPKI, &k.Cert, &k.Serial, &k.NotBefore, &k.Expires,
		&k.Graced, &k.GraceEnd, &k.Retired, &k.Revoked, &k.Reason, &k.Replaces, &k.Renewal, &k.Approver}
}

// keysOf returns the keys that a condition holds for, oldest first.
func keysOf(tx *db.Tx, where string, args ...any) ([]*key, error) {
	var out []*key
	for row, err := range tx.Query(`SELECT `+keyColumns+` FROM ca_key WHERE `+where+` ORDER BY pos`, args...) {
		if err != nil {
			return nil, err
		}
		k := new(key)
		if err := row.Scan(k.dest()...); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

var errNoKey = notFound("there is no such key")

// keyByID returns a key by its fingerprint, or errNoKey.
func keyByID(tx *db.Tx, id cert.Fingerprint) (*key, error) {
	k := new(key)
	err := tx.Row(`SELECT `+keyColumns+` FROM ca_key WHERE key_id = $1`, id).Scan(k.dest()...)
	if errors.Is(err, db.ErrNoRows) {
		return nil, errNoKey
	}
	return k, err
}

// insert stores a new key.
func (k *key) insert(tx *db.Tx) error {
	tx.Count(db.UserOf(network, k.User), db.ClassData, int64(len(k.SPKI)+len(k.Cert)+len(k.Renewal))+keyRows)
	_, err := tx.Exec(`INSERT INTO ca_key (`+keyColumns+`, pos) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, NULL, NULL, NULL, NULL, $11, $12, $13, $14)`,
		k.User, k.ID, k.Device, k.Usage, k.Profile, k.SPKI, k.Cert, k.Serial, k.NotBefore, k.Expires, k.Replaces, k.Renewal, k.Approver, tx.NextPos())
	return err
}

// state returns the state as of a time, and since when it is so.
func (k *key) state(at int64) (wire.State, int64) {
	is := func(t *int64) bool { return t != nil && *t <= at }
	switch {
	case is(k.Revoked):
		return wire.StateRevoked, *k.Revoked
	case is(k.Retired):
		return wire.StateRetired, *k.Retired
	case is(k.Graced):
		return wire.StateGrace, *k.Graced
	case k.Expires <= at:
		return wire.StateExpired, k.Expires
	case k.NotBefore > at:
		return wire.StatePending, k.NotBefore
	}
	return wire.StateActive, k.NotBefore
}

// decrypts reports whether messages that are sealed for the key are taken in:
// it is valid, or was renewed a short while ago.
func (k *key) decrypts(now int64) bool {
	st, _ := k.state(now)
	return (st == wire.StateActive || st == wire.StateGrace) && k.Expires > now && !k.graceOver(now) &&
		(k.Usage == wire.UseEncrypt || k.Usage == wire.UseBoth)
}

// info is what the authority says of the key as of a time.
func (k *key) info(at int64) *wire.KeyInfo {
	st, since := k.state(at)
	i := &wire.KeyInfo{User: k.User, Device: k.Device, ID: k.ID, PublicKey: k.SPKI, Fingerprint: k.ID, Use: k.Usage, Profile: k.Profile,
		NotBefore: utc(k.NotBefore), Expires: utc(k.Expires), State: st, Changed: utc(since), Cert: k.Cert}
	if k.Serial != nil {
		i.Serial = *k.Serial
	}
	if k.Replaces != nil {
		i.Replaces = *k.Replaces
	}
	if k.Renewal != nil {
		// Stored rows were written by this program; a damaged row has no
		// proof to show.
		if r := new(cert.Renewal); exactjson.Unmarshal(k.Renewal, r) == nil {
			i.Renewal = r
		}
	}
	if st == wire.StateRevoked && k.Reason != nil {
		i.Reason = reasonText(cert.Reason(*k.Reason))
	}
	return i
}

func reasonText(r cert.Reason) string {
	for text, have := range cert.Reasons {
		if have == r {
			return text
		}
	}
	return "unspecified"
}

func (s *caServer) keyCalls() {
	s.at(http.MethodPost, wire.PathKeys, endpoint{rate: rateKeys, body: maxBody, handle: (*call).postKeys})
	s.at(http.MethodGet, wire.PathKey, endpoint{rate: rateLookups, handle: (*call).getKey})
	s.at(http.MethodDelete, wire.PathKey, endpoint{rate: rateKeys, body: maxBody, handle: (*call).retireKey})
	s.at(http.MethodGet, wire.PathUserKeys, endpoint{rate: rateLookups, handle: (*call).getUserKeys})
}

// checkKeyID refuses what is no fingerprint before the store is asked.
func checkKeyID(id cert.Fingerprint) error {
	if raw, err := hex.DecodeString(string(id)); err != nil || len(raw) != 32 || strings.ToLower(string(id)) != string(id) {
		return errNoKey
	}
	return nil
}

func (c *call) getKey() (any, error) {
	id := cert.Fingerprint(c.r.PathValue("key"))
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	var k *key
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		k, err = keyByID(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k.info(c.Now().UnixMilli()), nil
}

// getUserKeys answers the lookup by user name: all keys as they were at a
// given time, or those in one state.
func (c *call) getUserKeys() (any, error) {
	q := c.r.URL.Query()
	at := c.Now()
	if s := q.Get("at"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return nil, invalid("at is not a time like 2026-05-01T12:00:00Z")
		}
		if t.After(at) {
			return nil, invalid("at is in the future")
		}
		at = t
	}
	state := wire.State(q.Get("state"))
	if state != "" && !knownState(state) {
		return nil, invalid("there is no such state")
	}
	name := c.loginName(c.r.PathValue("user"))
	list := wire.KeyList{User: c.userOf(name), At: at.UTC().Truncate(time.Millisecond), Keys: []wire.KeyInfo{}}
	var keys []*key
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		if there, err := account.Exists(tx, name); err != nil || !there {
			return errOr(err, notFound("there is no such user"))
		}
		keys, err = keysOf(tx, `user_id = $1`, list.User)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		i := k.info(at.UnixMilli())
		if (i.State != wire.StatePending || q.Get("at") == "") && (state == "" || i.State == state) {
			list.Keys = append(list.Keys, *i)
		}
	}
	return list, nil
}

func knownState(s wire.State) bool {
	for _, k := range wire.States {
		if k == s {
			return true
		}
	}
	return false
}

// The bounds of a key's life: legacyLife is that of a key record of the legacy
// profile, which the client asks for.
const legacyLife = 366 * 24 * time.Hour

// postKeys enrols a key: bound to the login, and in the secure profile with
// the proof that the private key is held.
func (c *call) postKeys() (any, error) {
	var q wire.EnrolRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Username != "" && q.Username != c.user || q.Device != "" && q.Device != c.device {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "a device can enrol only its own keys")
	}
	k, err := c.newKey(&q)
	if err != nil {
		return nil, err
	}
	var fresh bool
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		k, fresh, err = c.enrol(tx, k)
		return err
	})
	if err != nil {
		return nil, err
	}
	if fresh {
		c.write(http.StatusCreated, k.info(c.Now().UnixMilli()))
		c.done = true
		return nil, nil
	}
	return k.info(c.Now().UnixMilli()), nil
}

// newKey makes the row of a checked request to enrol.
func (c *call) newKey(q *wire.EnrolRequest) (*key, error) {
	switch q.Profile {
	case wire.ProfileSecure:
		if len(q.Pop) == 0 {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodePossession, "enrolling a key requires a proof of possession of its private key: a PKCS #10 request")
		}
		id := cert.Identity{User: c.user, Device: c.device, Use: cert.Use(q.Use)}
		if err := id.Check(); err != nil {
			return nil, err
		}
		r, err := cert.ParseRequest(q.Pop, id)
		if err != nil {
			return nil, err
		}
		if q.PublicKey != nil && string(q.PublicKey) != string(r.SPKI) {
			return nil, wire.NewError(http.StatusForbidden, wire.CodePossession, "the proof of possession is for another key")
		}
		return c.certify(r, q.Expires)
	case wire.ProfileLegacy:
		if q.Use != "" || q.Pop != nil {
			return nil, invalid("a key of the legacy profile has neither a use nor a proof of possession")
		}
		if _, err := cert.ParseLegacyKey(q.PublicKey); err != nil {
			return nil, err
		}
		return c.legacyKey(q.PublicKey, q.Expires)
	}
	return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnsupported, "there is no such profile")
}

// certify makes the row and the certificate of a checked request.
func (c *call) certify(r *cert.Request, expires *time.Time) (*key, error) {
	issuer, err := c.authority.get(c.ctx())
	if err != nil {
		return nil, err
	}
	now, life := c.Now(), cert.Validity
	if expires != nil {
		if life = expires.Sub(now); life <= 0 || life > cert.MaxValidity {
			return nil, invalid("a certificate is valid for at most 90 days from now")
		}
	}
	made, err := issuer.Issue(r, now, life)
	if err != nil {
		return nil, err
	}
	return keyOfCert(r.Identity, made), nil
}

func keyOfCert(id cert.Identity, c *x509.Certificate) *key {
	serial := serialText(c)
	return &key{User: id.User, ID: cert.KeyID(c), Device: id.Device, Usage: string(id.Use), Profile: wire.ProfileSecure,
		SPKI: c.RawSubjectPublicKeyInfo, Cert: c.Raw, Serial: &serial, NotBefore: c.NotBefore.UnixMilli(), Expires: c.NotAfter.UnixMilli()}
}

// legacyKey makes the row of a key record of the legacy profile.
func (c *call) legacyKey(spki []byte, expires *time.Time) (*key, error) {
	now := c.Now()
	if expires == nil || !expires.After(now) || expires.Sub(now) > legacyLife {
		return nil, invalid("a key record has an expiry at most 366 days from now")
	}
	return &key{User: c.user, ID: cert.FingerprintOf(spki), Device: c.device, Usage: wire.UseBoth, Profile: wire.ProfileLegacy,
		SPKI: spki, NotBefore: now.UnixMilli(), Expires: expires.UnixMilli()}, nil
}

// enrol stores a first key of a device for its use. The same key again gives
// the row that there is. Where there was another key the device must renew it
// or, if that is no longer valid, have the approval of another device of its user.
func (s *caServer) enrol(tx *db.Tx, k *key) (row *key, fresh bool, err error) {
	have, err := keyByID(tx, k.ID)
	if err == nil {
		if st, _ := have.state(tx.Millis()); st == wire.StateActive && have.User == k.User && have.Device == k.Device && have.Usage == k.Usage && have.Profile == k.Profile {
			return have, false, nil
		}
		return nil, false, wire.NewError(http.StatusConflict, wire.CodeConflict, "this key was enrolled before: create a new one")
	}
	if !errors.Is(err, errNoKey) {
		return nil, false, err
	}
	old, err := keysOf(tx, `user_id = $1 AND device = $2 AND usage = $3 AND profile = $4`, k.User, k.Device, k.Usage, k.Profile)
	if err != nil {
		return nil, false, err
	}
	for _, o := range old {
		if st, _ := o.state(tx.Millis()); st == wire.StateActive {
			return nil, false, wire.NewError(http.StatusConflict, wire.CodeState, "the device already has a valid key for this use: renew it")
		}
	}
	if len(old) > 0 {
		if k.Approver, err = useApproval(tx, k); err != nil {
			return nil, false, err
		}
	}
	return k, true, s.issued(tx, k, "enrolled")
}

// issued stores a new key, writes the audit and tells those whom it concerns.
func (s *caServer) issued(tx *db.Tx, k *key, change string) error {
	if err := k.insert(tx); err != nil {
		return err
	}
	r := record{Action: change, User: k.User, Device: k.Device, KeyID: k.ID, Detail: k.Profile + " " + k.Usage}
	if k.Serial != nil {
		r.Serial = *k.Serial
	}
	if k.Replaces != nil {
		r.Detail += " replaces " + string(*k.Replaces)
	}
	if k.Approver != nil {
		r.Detail += " approved by " + string(*k.Approver)
	}
	if err := audit(tx, r); err != nil {
		return err
	}
	return s.tell(tx, k, change)
}

// activeKey returns the valid key of a device for a use in the secure profile,
// or a CodeState error.
func activeKey(tx *db.Tx, user quinta.UserID, dev quinta.DeviceID, use string) (*key, error) {
	keys, err := keysOf(tx, `user_id = $1 AND device = $2 AND usage = $3 AND profile = $4`, user, dev, use, wire.ProfileSecure)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if st, _ := k.state(tx.Millis()); st == wire.StateActive {
			return k, nil
		}
	}
	return nil, wire.NewError(http.StatusConflict, wire.CodeState, "the device has no valid key for this use: enrol or renew")
}
