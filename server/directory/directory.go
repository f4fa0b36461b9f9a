// Package directory keeps the public keys of users and their devices with
// their signatures, and who changed when.
//
// [PutDevice] and [PutIdentity] store keys, [Devices] and [Identities] read
// those of many users at once. Keys are opaque here; the front-end checks
// their form and signatures. Storing keys does not by itself record a change:
// the front-end calls [Changed] in the same transaction, once for all that a
// request does, and wakes those who share a room with the user.
package directory

import (
	_ "embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed schema.sql
var schema string

// Schema is what this set keeps.
var Schema = db.Schema{Set: "directory", Base: schema}

// A Device is the public keys of one device.
type Device struct {
	User   quinta.UserID
	Device quinta.DeviceID
	Body   []byte
}

// PutDevice stores the public keys of a device in place of those before.
func PutDevice(tx *db.Tx, user quinta.UserID, device quinta.DeviceID, body []byte) error {
	return tx.Do(`INSERT INTO directory_device (user_id, device, body) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, device) DO UPDATE SET body = excluded.body`, user, device, body)
}

// DeviceOf returns the public keys of one device, or nil if it has none.
func DeviceOf(tx *db.Tx, user quinta.UserID, device quinta.DeviceID) ([]byte, error) {
	var body []byte
	err := tx.Row(`SELECT body FROM directory_device WHERE user_id = $1 AND device = $2`, user, device).Scan(&body)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return body, err
}

// Devices returns the public keys of all devices of the users, each user's
// together.
func Devices(tx *db.Tx, users []quinta.UserID) ([]Device, error) {
	var out []Device
	for piece := range db.Pieces(users) {
		for row, err := range tx.Query(`SELECT user_id, device, body FROM directory_device WHERE user_id IN (`+db.Tuples(1, len(piece), 1)+`) ORDER BY user_id, device`, anys(piece)...) {
			if err != nil {
				return nil, err
			}
			var d Device
			if err := row.Scan(&d.User, &d.Device, &d.Body); err != nil {
				return nil, err
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// RemoveDevice removes the public keys of a device.
func RemoveDevice(tx *db.Tx, user quinta.UserID, device quinta.DeviceID) error {
	return tx.Do(`DELETE FROM directory_device WHERE user_id = $1 AND device = $2`, user, device)
}

func anys[T ~string](list []T) []any {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = string(v)
	}
	return args
}
