// Package device keeps the devices of users and the access tokens with which
// they log in.
//
// [Put] makes a device, [NewToken] gives it a token, [ByToken] finds whose a
// token is. Only hashes of tokens are kept. What other sets keep for a device
// (keys, messages) is removed by the caller in the same transaction.
package device

import (
	_ "embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed schema.sql
var schema string

// Schema is what this set keeps.
var Schema = db.Schema{Set: "device", Base: schema}

// MaxDevices bounds the devices of one user.
const MaxDevices = 1000

// A Device is one row of a user's list of devices.
type Device struct {
	User quinta.UserID
	ID   quinta.DeviceID
	// Name is what the owner calls it; HasName tells an empty name from none.
	Name    string
	HasName bool
	Created int64
	// Seen is when the device was last active, in Unix milliseconds and not
	// more exact than SeenStep, and from which address; zero if never.
	Seen     int64
	SeenAddr string
}

// SeenStep is how exact Device.Seen is, in milliseconds: a write for every
// request would cost more than it tells.
const SeenStep = 60_000

// Put makes a device if it is not there. A name is set only on a new device.
// It reports whether the device is new.
func Put(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, name *string) (bool, error) {
	var count int
	if err := tx.Row(`SELECT COUNT(*) FROM device WHERE user_id = $1`, user).Scan(&count); err != nil {
		return false, err
	}
	if count >= MaxDevices {
		return false, quinta.E(quinta.KindLimited, "device", "too many devices: log out of some")
	}
	n, err := tx.Exec(`INSERT INTO device (user_id, id, name, created) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, id) DO NOTHING`,
		user, id, name, tx.Millis())
	return n > 0, err
}

var errNotFound = quinta.E(quinta.KindNotFound, "device", "there is no such device")

// columns are what scan reads.
const columns = `id, name, created, seen, seen_addr`

func scan(scan func(...any) error, user quinta.UserID) (Device, error) {
	d := Device{User: user}
	var name, addr *string
	var seen *int64
	if err := scan(&d.ID, &name, &d.Created, &seen, &addr); err != nil {
		return d, err
	}
	if name != nil {
		d.Name, d.HasName = *name, true
	}
	if seen != nil {
		d.Seen = *seen
	}
	if addr != nil {
		d.SeenAddr = *addr
	}
	return d, nil
}

// Get returns one device, or an error of KindNotFound.
func Get(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) (Device, error) {
	d, err := scan(tx.Row(`SELECT `+columns+` FROM device WHERE user_id = $1 AND id = $2`, user, id).Scan, user)
	if errors.Is(err, db.ErrNoRows) {
		return d, errNotFound
	}
	return d, err
}

// List returns the devices of a user in the order of their ids.
func List(tx *db.Tx, user quinta.UserID) ([]Device, error) {
	var out []Device
	for row, err := range tx.Query(`SELECT `+columns+` FROM device WHERE user_id = $1 ORDER BY id`, user) {
		if err != nil {
			return nil, err
		}
		d, err := scan(row.Scan, user)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Rename sets or, with nil, removes the name of a device.
func Rename(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, name *string) error {
	n, err := tx.Exec(`UPDATE device SET name = $1 WHERE user_id = $2 AND id = $3`, name, user, id)
	if err == nil && n == 0 {
		return errNotFound
	}
	return err
}

// Saw notes that a device was active, if the last note is older than SeenStep.
func Saw(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, addr string) error {
	return tx.Do(`UPDATE device SET seen = $1, seen_addr = $2 WHERE user_id = $3 AND id = $4 AND (seen IS NULL OR seen < $5)`,
		tx.Millis(), addr, user, id, tx.Millis()-SeenStep)
}

// Remove removes a device and its tokens. It reports whether it was there.
func Remove(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) (bool, error) {
	if err := RevokeTokens(tx, user, id); err != nil {
		return false, err
	}
	n, err := tx.Exec(`DELETE FROM device WHERE user_id = $1 AND id = $2`, user, id)
	return n > 0, err
}

// A Label is what the owner calls one device.
type Label struct {
	User quinta.UserID
	ID   quinta.DeviceID
	Name string
}

// Names returns the names of all devices of the users that have one.
func Names(tx *db.Tx, users []quinta.UserID) ([]Label, error) {
	return labels(tx, `SELECT user_id, id, name FROM device WHERE name IS NOT NULL AND user_id IN `, users)
}

// Of returns all devices of the users, without their names.
func Of(tx *db.Tx, users []quinta.UserID) ([]Label, error) {
	return labels(tx, `SELECT user_id, id, '' FROM device WHERE user_id IN `, users)
}

func labels(tx *db.Tx, sql string, users []quinta.UserID) ([]Label, error) {
	var out []Label
	for piece := range db.Pieces(users) {
		args := make([]any, len(piece))
		for i, u := range piece {
			args[i] = string(u)
		}
		for row, err := range tx.Query(sql+`(`+db.Tuples(1, len(piece), 1)+`)`, args...) {
			if err != nil {
				return nil, err
			}
			var l Label
			if err := row.Scan(&l.User, &l.ID, &l.Name); err != nil {
				return nil, err
			}
			out = append(out, l)
		}
	}
	return out, nil
}
