// Package directory keeps the public keys of users and their devices with
// their signatures, and who changed when.
//
// [PutDevice] and [PutIdentity] store keys, [Devices] and [Identities] read
// those of many users at once. Keys are opaque here; the front-end checks
// their form and signatures. Storing keys does not by itself record a change:
// the front-end calls [Changed] in the same transaction, once for all that a
// request does, and wakes those who share a room with the user.
//
// Matrix alone uses this set: lists of devices that change, users' keys that
// sign them, and signatures that only their maker sees.
package directory

import (
	"embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("directory", tables)

// A Device is the public keys of one device.
type Device struct {
	User   quinta.UserID
	Device quinta.DeviceID
	Body   []byte
}

// PutDevice stores the public keys of a device in place of those before.
func PutDevice(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, body []byte) error {
	return tx.Queue(`INSERT INTO directory_device (user_id, device, body) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, device) DO UPDATE SET body = excluded.body`, db.UserOf(network, user), device, body)
}

// DeviceOf returns the public keys of one device, or nil if it has none.
func DeviceOf(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) ([]byte, error) {
	var body []byte
	err := tx.Row(`SELECT body FROM directory_device WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), device).Scan(&body)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return body, err
}

// Devices returns the public keys of all devices of the users, each user's
// together.
func Devices(tx *db.Tx, network quinta.NetworkName, users []quinta.UserID) ([]Device, error) {
	var out []Device
	for piece := range db.Pieces(users) {
		for row, err := range tx.Query(`SELECT user_id, device, body FROM directory_device WHERE user_id IN (`+db.Tuples(1, len(piece), 1)+`) ORDER BY user_id, device`, db.UsersOf(network, piece)...) {
			if err != nil {
				return nil, err
			}
			var d Device
			var u db.User
			if err := row.Scan(&u, &d.Device, &d.Body); err != nil {
				return nil, err
			}
			d.User = u.ID()
			out = append(out, d)
		}
	}
	return out, nil
}

// RemoveDevice removes the public keys of a device.
func RemoveDevice(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) error {
	return tx.Queue(`DELETE FROM directory_device WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), device)
}
