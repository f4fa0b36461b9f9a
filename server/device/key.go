package device

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// MaxKeyID bounds the id of a key, and MaxSealed its sealed form, in bytes.
	MaxKeyID  = 64
	MaxSealed = 4096
)

// A Key is the key of a connection, which the server must have to speak over
// it: not a token that the client shows, but a secret that both hold.
type Key struct {
	// Sealed is the key as the server's keeper of secrets sealed it.
	Sealed []byte
	// Owner has an empty User until the key is bound.
	Owner
}

// Bound reports whether somebody has logged in with the key.
func (k Key) Bound() bool { return k.User != "" }

// PutKey stores a key under an id that is new on the network, until expires in
// Unix milliseconds or, with zero, for ever. An id that is there already gives
// an error of KindExists.
func PutKey(tx *db.Tx, network quinta.NetworkName, id, sealed []byte, expires int64) error {
	if len(id) == 0 || len(id) > MaxKeyID || len(sealed) == 0 || len(sealed) > MaxSealed {
		return quinta.E(quinta.KindInvalid, "key", "the id or the key has the wrong length")
	}
	n, err := tx.Exec(`INSERT INTO device_key (network, id, sealed, created, expires) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (network, id) DO NOTHING`,
		network, id, sealed, tx.Millis(), orNull(expires))
	if err == nil && n == 0 {
		err = quinta.E(quinta.KindExists, "key", "there is a key of this id")
	}
	return err
}

// BindKey gives a key to a device that has logged in with it, until expires as
// in PutKey. A key that another device has, or that is not known, gives
// ErrNoToken.
func BindKey(tx *db.Tx, network quinta.NetworkName, id []byte, user quinta.UserID, device quinta.DeviceID, expires int64) error {
	n, err := tx.Exec(`UPDATE device_key SET user_id = $3, device = $4, expires = $5 WHERE network = $1 AND id = $2
		AND (user_id IS NULL OR (user_id = $3 AND device = $4)) AND (expires IS NULL OR expires > $6)`,
		network, id, db.UserOf(network, user), device, orNull(expires), tx.Millis())
	if err == nil && n == 0 {
		err = ErrNoToken
	}
	return err
}

// ByKey returns a key of the network, bound or not, or ErrNoToken if it is not
// known, has expired, or is bound to a device that is gone.
func ByKey(tx *db.Tx, network quinta.NetworkName, id []byte) (Key, error) {
	k := Key{Owner: Owner{Network: network}}
	var user, device, there *string
	var seen *int64
	err := tx.Row(`SELECT k.sealed, k.user_id, k.device, d.id, d.seen FROM device_key k LEFT JOIN device d ON d.user_id = k.user_id AND d.id = k.device
		WHERE k.network = $1 AND k.id = $2 AND (k.expires IS NULL OR k.expires > $3)`, network, id, tx.Millis()).Scan(&k.Sealed, &user, &device, &there, &seen)
	if errors.Is(err, db.ErrNoRows) || err == nil && user != nil && there == nil {
		return Key{}, ErrNoToken
	}
	if err != nil {
		return Key{}, err
	}
	if user != nil {
		k.User, k.Device = db.User(*user).ID(), quinta.DeviceID(*device)
	}
	if seen != nil {
		k.Seen = *seen
	}
	return k, nil
}

// RemoveKey removes a key.
func RemoveKey(tx *db.Tx, network quinta.NetworkName, id []byte) error {
	return tx.Queue(`DELETE FROM device_key WHERE network = $1 AND id = $2`, network, id)
}

// SweepKeys removes keys that have expired, at most limit of them, and reports
// whether there may be more.
func SweepKeys(tx *db.Tx, limit int) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM device_key WHERE (network, id) IN
		(SELECT network, id FROM device_key WHERE expires IS NOT NULL AND expires <= $1 ORDER BY expires LIMIT $2)`, tx.Millis(), limit)
	return int(n) >= limit, err
}

// orNull returns nil for zero.
func orNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}
