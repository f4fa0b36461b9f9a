package mtprotoserver

import (
	"context"
	"errors"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// maxTempLife bounds for how long a temporary key is requested.
	maxTempLife = 30 * 24 * time.Hour
	// maxTemps bounds the temporary keys of a device that are bound at a time; the
	// one that expires first makes way.
	maxTemps = 16
)

// A tempKey says how long the key of a connection is good, and for which device
// it speaks; it is zero for a permanent key.
type tempKey struct {
	expires int64 // Unix milliseconds, 0: the key is permanent
	device  int64 // 0: it is not bound yet
}

// unbound says that the key speaks for no one yet.
func (t tempKey) unbound() bool { return t.expires != 0 && t.device == 0 }

// loadKey returns a sealed key of either kind, with the layer of its device.
func loadKey(tx *db.Tx, id int64) (sealed []byte, layer int64, temp tempKey, err error) {
	err = tx.Row(`SELECT auth_key, layer FROM mtproto_device WHERE key_id = $1`, id).Scan(&sealed, &layer)
	if !errors.Is(err, db.ErrNoRows) {
		return sealed, layer, temp, err
	}
	var device *int64
	if err = tx.Row(`SELECT auth_key, device, expires FROM mtproto_temp WHERE key_id = $1 AND expires > $2`, id, tx.Millis()).Scan(&sealed, &device, &temp.expires); err != nil || device == nil {
		return sealed, 0, temp, err
	}
	temp.device = *device
	err = tx.Row(`SELECT layer FROM mtproto_device WHERE key_id = $1`, temp.device).Scan(&layer)
	if errors.Is(err, db.ErrNoRows) {
		err = nil // the device is gone: what the key asks for is refused
	}
	return sealed, layer, temp, err
}

// keepKey keeps a new key.
func keepKey(tx *db.Tx, id int64, sealed []byte, life time.Duration) error {
	var n int64
	var err error
	if life == 0 {
		n, err = tx.Exec(`INSERT INTO mtproto_device (key_id, auth_key, created, account, name, seen, qts, pts, acked) VALUES ($1, $2, $3, NULL, '', $3, 1, 1, 1) ON CONFLICT (key_id) DO NOTHING`, id, sealed, tx.Millis())
	} else {
		n, err = tx.Exec(`INSERT INTO mtproto_temp (key_id, auth_key, device, expires, idle) VALUES ($1, $2, NULL, $3, $4) ON CONFLICT (key_id) DO NOTHING`, id, sealed, tx.Millis()+life.Milliseconds(), tx.Millis()+idleFor)
	}
	if err == nil && n == 0 {
		err = errExchange
	}
	return err
}

var errBinding = refuse(400, "ENCRYPTED_MESSAGE_INVALID")

// bind lets the temporary key of the connection speak for a device, whose
// permanent key has sealed the wish. "auth.bindTempAuthKey".
func (c *conn) bind(ctx context.Context, r *wire.BindTempAuthKey) error {
	if c.temp.expires == 0 {
		return refuse(400, "TEMP_AUTH_KEY_EMPTY")
	}
	sec, err := c.s.secrets(ctx)
	if err != nil {
		return err
	}
	bound := c.temp
	err = c.s.Update(ctx, func(tx *db.Tx) error {
		sealed, _, of, err := loadKey(tx, r.PermAuthKeyID)
		if errors.Is(err, db.ErrNoRows) || err == nil && of.expires != 0 {
			return errBinding // as for an envelope that does not open
		} else if err != nil {
			return err
		}
		raw, err := sec.open(r.PermAuthKeyID, sealed)
		if err != nil {
			return err
		}
		perm, err := secretchat.ParseKey(raw)
		if err != nil {
			return err
		}
		inner, err := wire.OpenBinding(perm, r.EncryptedMessage)
		if err != nil || inner.Nonce != r.Nonce || inner.TempAuthKeyID != c.authID || inner.PermAuthKeyID != r.PermAuthKeyID || inner.TempSessionID != c.session || inner.ExpiresAt != r.ExpiresAt {
			return errBinding
		}
		until := int64(r.ExpiresAt) * 1000
		if bound.device != 0 && bound.device != r.PermAuthKeyID || until <= tx.Millis() {
			return errBinding
		}
		bound = tempKey{expires: min(bound.expires, until), device: r.PermAuthKeyID}
		if err := tx.Queue(`UPDATE mtproto_temp SET device = $1, expires = $2 WHERE key_id = $3`, bound.device, bound.expires, c.authID); err != nil {
			return err
		}
		if c.layer > 0 {
			if err := tx.Queue(`UPDATE mtproto_device SET layer = $1 WHERE key_id = $2`, int64(c.layer), bound.device); err != nil {
				return err
			}
		}
		return tx.Queue(`DELETE FROM mtproto_temp WHERE device = $1 AND key_id NOT IN (SELECT key_id FROM mtproto_temp WHERE device = $1 ORDER BY expires DESC LIMIT $2)`, bound.device, maxTemps)
	})
	if err == nil {
		c.temp, c.keyID = bound, bound.device
	}
	return err
}
