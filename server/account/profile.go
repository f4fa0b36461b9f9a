package account

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/server/db"
)

// SetProfile sets one field of a profile; a nil value removes it. The form of
// the value is the network's.
func SetProfile(tx *db.Tx, name Name, field string, value []byte) error {
	if value == nil {
		return tx.Queue(`DELETE FROM account_profile WHERE name = $1 AND field = $2`, name, field)
	}
	return tx.Queue(`INSERT INTO account_profile (name, field, value, folded) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name, field) DO UPDATE SET value = excluded.value, folded = excluded.folded`, name, field, value, folded(value))
}

// folded is the form of a value in which Search looks.
func folded(value []byte) string {
	if !utf8.Valid(value) || strings.IndexByte(string(value), 0) >= 0 {
		return ""
	}
	return strings.ToLower(string(value))
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

// Search returns up to limit names of open accounts that hold the term, or
// whose profile field does, without regard to case. An empty term finds no
// one.
func Search(tx *db.Tx, term, field string, limit int) ([]Name, error) {
	if term == "" || len(term) > 255 {
		return nil, nil
	}
	like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(term)) + "%"
	var out []Name
	for row, err := range tx.Query(`SELECT a.name FROM account a LEFT JOIN account_profile p ON p.name = a.name AND p.field = $1
		WHERE a.closed IS NULL AND (a.name LIKE $2 ESCAPE '\' OR p.folded LIKE $2 ESCAPE '\') ORDER BY a.name LIMIT $3`, field, like, limit) {
		if err != nil {
			return nil, err
		}
		var n Name
		if err := row.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
