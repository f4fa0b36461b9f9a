package vault

import (
	"errors"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// The bounds of what one user may store as data.
const (
	// MaxData is how many values a user may have, over all scopes.
	MaxData = 10_000
	// MaxDataValue is how long one value may be, in bytes.
	MaxDataValue = 256 << 10
	// MaxDataTotal is how long all values of a user may be together, in bytes.
	MaxDataTotal = 32 << 20
	// MaxDataName is how long a name may be, in bytes.
	MaxDataName = 255
)

// A Datum is one value that a user stored.
type Datum struct {
	// Scope is the room that the value is about, or "" for the account.
	Scope string
	Name  string
	// Value is what was stored, or nil if it was removed.
	Value []byte
	// Pos is the position of the last change.
	Pos quinta.Pos
}

var errNoData = quinta.E(quinta.KindNotFound, "account data", "nothing is stored under this name")

// PutData stores value under scope and name in place of the old value.
// Storing the same bytes again is not a change. The caller wakes the waiters.
// Beyond a bound it fails with KindTooLarge or KindLimited.
func PutData(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, scope, name string, value []byte) error {
	if len(value) > MaxDataValue || len(name) > MaxDataName {
		return quinta.E(quinta.KindTooLarge, "account data", "the value or its name is too long")
	}
	old, err := GetData(tx, network, user, scope, name)
	switch {
	case err == nil && string(old) == string(value):
		return nil
	case err != nil && quinta.KindOf(err) != quinta.KindNotFound:
		return err
	}
	var count, total int64
	if err := tx.Row(`SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(value)), 0) AS BIGINT) FROM vault_data WHERE user_id = $1`, db.UserOf(network, user)).Scan(&count, &total); err != nil {
		return err
	}
	if old == nil {
		count++
	}
	if count > MaxData || total-int64(len(old))+int64(len(value)) > MaxDataTotal {
		return quinta.E(quinta.KindLimited, "account data", "the account stores too much")
	}
	if value == nil {
		value = []byte{}
	}
	tx.Count(db.UserOf(network, user), db.ClassData, int64(len(value)-len(old)))
	return tx.Queue(`INSERT INTO vault_data (user_id, scope, name, value, pos) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id, scope, name) DO UPDATE SET value = excluded.value, pos = excluded.pos`,
		db.UserOf(network, user), scope, name, value, tx.NextPos())
}

// GetData returns the value under scope and name, or an error of KindNotFound.
func GetData(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, scope, name string) ([]byte, error) {
	var v []byte
	err := tx.Row(`SELECT value FROM vault_data WHERE user_id = $1 AND scope = $2 AND name = $3`, db.UserOf(network, user), scope, name).Scan(&v)
	if errors.Is(err, db.ErrNoRows) || (err == nil && v == nil) {
		return nil, errNoData
	}
	return v, err
}

// DeleteData removes the value under scope and name. It reports whether there
// was one.
func DeleteData(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, scope, name string) (bool, error) {
	old, err := GetData(tx, network, user, scope, name)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tx.Count(db.UserOf(network, user), db.ClassData, -int64(len(old)))
	return true, tx.Queue(`UPDATE vault_data SET value = NULL, pos = $4 WHERE user_id = $1 AND scope = $2 AND name = $3`,
		db.UserOf(network, user), scope, name, tx.NextPos())
}

// DataSince returns what changed after a position, oldest change first, with
// what was removed. From zero on, it returns everything that is stored, and
// nothing that was removed.
func DataSince(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, after quinta.Pos) ([]Datum, error) {
	list, err := data(tx, `SELECT scope, name, value, pos FROM vault_data WHERE user_id = $1 AND pos > $2 ORDER BY pos`, db.UserOf(network, user), after)
	if after == 0 {
		list = slices.DeleteFunc(list, func(d Datum) bool { return d.Value == nil })
	}
	return list, err
}

// DataIn returns all that a user has stored in one scope, oldest change
// first.
func DataIn(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, scope string) ([]Datum, error) {
	return data(tx, `SELECT scope, name, value, pos FROM vault_data WHERE user_id = $1 AND scope = $2 AND value IS NOT NULL ORDER BY pos`, db.UserOf(network, user), scope)
}

func data(tx *db.Tx, sql string, args ...any) ([]Datum, error) {
	var out []Datum
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var d Datum
		if err := row.Scan(&d.Scope, &d.Name, &d.Value, &d.Pos); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// ClearData removes without trace all that a user stored as data, when the
// account ends.
func ClearData(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) error {
	u := db.UserOf(network, user)
	if err := count(tx, u, db.ClassData, -1, `SELECT SUM(LENGTH(value)) FROM vault_data WHERE user_id = $1`, u); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM vault_data WHERE user_id = $1`, u)
}
