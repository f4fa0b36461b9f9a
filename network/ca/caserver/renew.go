package caserver

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// nonceLife is for how long a nonce is good, and maxNonces how many of one
	// key are.
	nonceLife = 10 * time.Minute
	maxNonces = 10
)

func (s *caServer) renewCalls() {
	s.at(http.MethodPost, wire.PathNonce, endpoint{rate: rateKeys, body: maxBody, handle: (*call).postNonce})
	s.at(http.MethodPost, wire.PathRenew, endpoint{rate: rateKeys, body: maxBody, handle: (*call).postRenew})
}

// ownKey returns a key of the calling device.
func (c *call) ownKey(tx *db.Tx) (*key, error) {
	id := cert.Fingerprint(c.r.PathValue("key"))
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	k, err := keyByID(tx, id)
	if err == nil && (k.User != c.user || k.Device != c.device) {
		// That it is someone else's is no secret: keys can be looked up.
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the key does not belong to this device")
	}
	return k, err
}

var errNotActive = wire.NewError(http.StatusConflict, wire.CodeState, "the key is no longer valid, so it cannot be renewed")

func nonceHash(nonce string) []byte {
	h := sha256.Sum256([]byte("quinta ca nonce " + nonce))
	return h[:]
}

func (c *call) postNonce() (any, error) {
	if err := c.decode(&wire.Empty{}); err != nil {
		return nil, err
	}
	raw := make([]byte, 24)
	if _, err := io.ReadFull(c.Rand, raw); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	n := wire.Nonce{Nonce: base64.RawURLEncoding.EncodeToString(raw)}
	err := c.Update(c.ctx(), func(tx *db.Tx) error {
		k, err := c.ownKey(tx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM ca_nonce WHERE expires <= $1`, tx.Millis()); err != nil {
			return err
		}
		var count int
		if err := tx.Row(`SELECT COUNT(*) FROM ca_nonce WHERE key_id = $1`, k.ID).Scan(&count); err != nil {
			return err
		}
		if count >= maxNonces {
			return limited(nonceLife)
		}
		end := tx.Millis() + nonceLife.Milliseconds()
		n.Expires = utc(end)
		_, err = tx.Exec(`INSERT INTO ca_nonce (hash, key_id, expires) VALUES ($1, $2, $3)`, nonceHash(n.Nonce), k.ID, end)
		return err
	})
	return n, err
}

// useNonce takes a nonce that was given for a key, once.
func useNonce(tx *db.Tx, nonce string, keyID cert.Fingerprint) error {
	n, err := tx.Exec(`DELETE FROM ca_nonce WHERE hash = $1 AND key_id = $2 AND expires > $3`, nonceHash(nonce), keyID, tx.Millis())
	if err == nil && n == 0 {
		err = wire.NewError(http.StatusConflict, wire.CodeNonce, "the nonce was not issued for this key, was already used, or is too old")
	}
	return err
}

// postRenew puts a new key in the place of an old one, in the profile of the
// old one.
func (c *call) postRenew() (any, error) {
	var q wire.RenewRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var old *key
	var done *key
	if err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		if old, err = c.ownKey(tx); err == nil {
			done, err = c.renewedTo(tx, old, &q)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if done != nil {
		return done.info(c.Now().UnixMilli()), nil
	}
	renew := c.renewSecure
	if old.Profile == wire.ProfileLegacy {
		renew = c.renewLegacy
	}
	k, check, err := renew(old, &q)
	if err != nil {
		return nil, err
	}
	return c.renewed(old.ID, k, check)
}

// renewedTo returns the key of a request that was carried out before, or nil:
// who got no answer may ask again at any time, also when the statement is too
// old for a renewal.
func (c *call) renewedTo(tx *db.Tx, old *key, q *wire.RenewRequest) (*key, error) {
	spki := q.PublicKey
	if old.Profile == wire.ProfileSecure {
		r, err := cert.ParseRequest(q.CSR, cert.Identity{User: old.User, Device: old.Device, Use: cert.Use(old.Usage)})
		if err != nil {
			return nil, err
		}
		spki = r.SPKI
	}
	k, err := keyByID(tx, cert.FingerprintOf(spki))
	if errors.Is(err, errNoKey) || err == nil && !k.isActiveRenewal(old.ID, tx.Millis()) {
		return nil, nil
	}
	return k, err
}

// isActiveRenewal reports whether the key is valid and renewed another one.
func (k *key) isActiveRenewal(of cert.Fingerprint, now int64) bool {
	st, _ := k.state(now)
	return st == wire.StateActive && k.Replaces != nil && *k.Replaces == of
}

// renewed commits a renewal that was checked and answers with the new key.
func (c *call) renewed(old cert.Fingerprint, k *key, check func(*db.Tx) error) (*wire.KeyInfo, error) {
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		k, err = c.replace(tx, old, k, check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k.info(c.Now().UnixMilli()), nil
}

// replace stores the new key and begins the grace of the old one. A renewal
// that was done already gives its result again.
func (s *caServer) replace(tx *db.Tx, oldID cert.Fingerprint, k *key, check func(*db.Tx) error) (*key, error) {
	old, err := keyByID(tx, oldID)
	if err != nil {
		return nil, err
	}
	if have, err := keyByID(tx, k.ID); err == nil {
		if have.isActiveRenewal(oldID, tx.Millis()) {
			return have, nil
		}
		return nil, wire.NewError(http.StatusConflict, wire.CodeConflict, "this key was enrolled before: create a new one")
	} else if !errors.Is(err, errNoKey) {
		return nil, err
	}
	if st, _ := old.state(tx.Millis()); st != wire.StateActive {
		return nil, errNotActive
	}
	if err := check(tx); err != nil {
		return nil, err
	}
	k.Replaces = &old.ID
	now := tx.Millis()
	if old.Usage == wire.UseSign {
		// A key that only signs has nothing left to do; receivers judge what it
		// signed before by the time of the message.
		if _, err := tx.Exec(`UPDATE ca_key SET graced = $1, retired = $1 WHERE key_id = $2`, now, old.ID); err != nil {
			return nil, err
		}
		if err := staleCRL(tx); err != nil {
			return nil, err
		}
	} else if _, err := tx.Exec(`UPDATE ca_key SET graced = $1, grace_end = $2 WHERE key_id = $3`, now, now+grace.Milliseconds(), old.ID); err != nil {
		return nil, err
	}
	return k, s.issued(tx, k, "renewed")
}

// renewSecure checks a renewal of the secure profile: the new key's request,
// the statement, and the signatures of both keys over it.
func (c *call) renewSecure(old *key, q *wire.RenewRequest) (*key, func(*db.Tx) error, error) {
	if len(q.CSR) == 0 || len(q.RenewalStatement) == 0 || q.PublicKey != nil || q.Signature != nil || q.Expires != nil {
		return nil, nil, invalid("a key of the secure profile is renewed with csr, renewalStatement, oldSignature and newSignature")
	}
	id := cert.Identity{User: c.user, Device: c.device, Use: cert.Use(old.Usage)}
	r, err := cert.ParseRequest(q.CSR, id)
	if err != nil {
		return nil, nil, err
	}
	var st cert.RenewalStatement
	if err := wire.Decode(q.RenewalStatement, &st); err != nil {
		return nil, nil, invalid("the statement is not a renewal")
	}
	pub, err := foreign.PublicKey(old.SPKI)
	if err != nil {
		return nil, nil, err
	}
	want := cert.RenewalStatement{Username: c.user, Device: c.device, OldKeyID: old.ID, NewKey: cert.FingerprintOf(r.SPKI), Expires: st.Expires}
	renewal := cert.Renewal{Statement: q.RenewalStatement, OldSignature: q.OldSignature, NewSignature: q.NewSignature}
	nonce, err := renewal.Check(want, pub, r.Key, c.Now())
	if err != nil {
		return nil, nil, err
	}
	expires := time.Unix(st.Expires, 0)
	k, err := c.certify(r, &expires)
	if err != nil {
		return nil, nil, err
	}
	k.Renewal, err = json.Marshal(&renewal)
	return k, func(tx *db.Tx) error { return useNonce(tx, nonce, old.ID) }, err
}

// renewLegacy checks a renewal of the legacy profile (section 1.4).
func (c *call) renewLegacy(old *key, q *wire.RenewRequest) (*key, func(*db.Tx) error, error) {
	if q.CSR != nil || q.RenewalStatement != nil || len(q.PublicKey) == 0 {
		return nil, nil, invalid("a key of the legacy profile is renewed with publicKey, signature and expires")
	}
	pub, err := foreign.PublicKey(old.SPKI)
	if err != nil {
		return nil, nil, err
	}
	oldKey, ok := pub.(*rsa.PublicKey)
	if !ok {
		return nil, nil, errors.New("ca: a legacy key is not RSA")
	}
	if err := cert.CheckLegacyRenewal(q.PublicKey, q.Signature, oldKey); err != nil {
		return nil, nil, err
	}
	k, err := c.legacyKey(q.PublicKey, q.Expires)
	return k, func(*db.Tx) error { return nil }, err
}
