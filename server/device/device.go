// Package device keeps the devices of users and the access tokens with which
// they log in. A network whose clients hold a key instead of presenting a
// token has a table of its own.
//
// [Put] makes a device, [NewToken] gives it a token, [ByToken] finds the device
// that a token belongs to. All of these belong to one network: a token of one
// network is unknown on another, even if the user ids are the same. Only hashes
// of tokens are stored. What other sets store for a device (keys, messages) is
// removed by the caller in the same transaction.
package device

import (
	"embed"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("device", tables)

// MaxDevices bounds the devices of one user.
const MaxDevices = 1000

// A Device is one row of a user's list of devices.
type Device struct {
	User quinta.UserID
	ID   quinta.DeviceID
	// Name is the name that the owner gave it; HasName tells an empty name from
	// none.
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
func Put(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID, name *string) (bool, error) {
	var count int
	if err := tx.Row(`SELECT COUNT(*) FROM device WHERE user_id = $1`, db.UserOf(network, user)).Scan(&count); err != nil {
		return false, err
	}
	if count >= MaxDevices {
		return false, quinta.E(quinta.KindLimited, "device", "too many devices: log out of some")
	}
	n, err := tx.Exec(`INSERT INTO device (user_id, id, name, created) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, id) DO NOTHING`,
		db.UserOf(network, user), id, name, tx.Millis())
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
func Get(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID) (Device, error) {
	d, err := scan(tx.Row(`SELECT `+columns+` FROM device WHERE user_id = $1 AND id = $2`, db.UserOf(network, user), id).Scan, user)
	if errors.Is(err, db.ErrNoRows) {
		return d, errNotFound
	}
	return d, err
}

// List returns the devices of a user in the order of their ids.
func List(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) ([]Device, error) {
	var out []Device
	for row, err := range tx.Query(`SELECT `+columns+` FROM device WHERE user_id = $1 ORDER BY id`, db.UserOf(network, user)) {
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
func Rename(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID, name *string) error {
	n, err := tx.Exec(`UPDATE device SET name = $1 WHERE user_id = $2 AND id = $3`, name, db.UserOf(network, user), id)
	if err == nil && n == 0 {
		return errNotFound
	}
	return err
}

// Saw notes that a device was active, if the last note is older than SeenStep.
func Saw(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID, addr string) error {
	return tx.Queue(`UPDATE device SET seen = $1, seen_addr = $2 WHERE user_id = $3 AND id = $4 AND (seen IS NULL OR seen < $5)`,
		tx.Millis(), addr, db.UserOf(network, user), id, tx.Millis()-SeenStep)
}

// Remove removes a device and its tokens. It reports whether it was there.
func Remove(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID) (bool, error) {
	if err := RevokeTokens(tx, network, user, id); err != nil {
		return false, err
	}
	n, err := tx.Exec(`DELETE FROM device WHERE user_id = $1 AND id = $2`, db.UserOf(network, user), id)
	return n > 0, err
}

// A Label is the name that the owner gave one device.
type Label struct {
	User quinta.UserID
	ID   quinta.DeviceID
	Name string
}

// Names returns the names of all devices of the users that have one.
func Names(tx *db.Tx, network quinta.NetworkName, users []quinta.UserID) ([]Label, error) {
	return labels(tx, network, `SELECT user_id, id, name FROM device WHERE name IS NOT NULL AND user_id IN `, users)
}

// Of returns all devices of the users, without their names.
func Of(tx *db.Tx, network quinta.NetworkName, users []quinta.UserID) ([]Label, error) {
	return labels(tx, network, `SELECT user_id, id, '' FROM device WHERE user_id IN `, users)
}

func labels(tx *db.Tx, network quinta.NetworkName, sql string, users []quinta.UserID) ([]Label, error) {
	var out []Label
	for piece := range db.Pieces(users) {
		for row, err := range tx.Query(sql+`(`+db.Tuples(1, len(piece), 1)+`)`, db.UsersOf(network, piece)...) {
			if err != nil {
				return nil, err
			}
			var l Label
			var u db.User
			if err := row.Scan(&u, &l.ID, &l.Name); err != nil {
				return nil, err
			}
			l.User = u.ID()
			out = append(out, l)
		}
	}
	return out, nil
}
