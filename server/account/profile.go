package account

import (
	"errors"

	"github.com/quinta-chat/quinta/server/db"
)

// SetProfile sets one field of a profile; a nil value removes it. The form of
// the value is the network's.
func SetProfile(tx *db.Tx, name Name, field string, value []byte) error {
	if value == nil {
		_, err := tx.Exec(`DELETE FROM account_profile WHERE name = $1 AND field = $2`, name, field)
		return err
	}
	_, err := tx.Exec(`INSERT INTO account_profile (name, field, value) VALUES ($1, $2, $3)
		ON CONFLICT (name, field) DO UPDATE SET value = excluded.value`, name, field, value)
	return err
}

// ProfileField returns one field of a profile, or nil if it is not set.
func ProfileField(tx *db.Tx, name Name, field string) ([]byte, error) {
	var v []byte
	err := tx.Row(`SELECT value FROM account_profile WHERE name = $1 AND field = $2`, name, field).Scan(&v)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return v, err
}

// Profile returns all fields of a profile.
func Profile(tx *db.Tx, name Name) (map[string][]byte, error) {
	out := map[string][]byte{}
	for row, err := range tx.Query(`SELECT field, value FROM account_profile WHERE name = $1`, name) {
		if err != nil {
			return nil, err
		}
		var f string
		var v []byte
		if err := row.Scan(&f, &v); err != nil {
			return nil, err
		}
		out[f] = v
	}
	return out, nil
}
