package account

import (
	"errors"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// MaxAlias bounds an alias in bytes.
const MaxAlias = 255

// ErrAliasTaken is returned by SetAlias for an alias of another account.
var ErrAliasTaken = &quinta.Error{Kind: quinta.KindExists, Op: "account", Err: errors.New("the alias belongs to another account")}

// SetAlias gives an account one more name on a network, such as a phone number
// or an id that the network's clients want. Its form is the network's, 1 to
// MaxAlias bytes. An account may have several; setting one twice changes
// nothing. It fails with ErrAliasTaken if another account has it, and with
// KindNotFound if the account is closed or does not exist.
func SetAlias(tx *db.Tx, network quinta.NetworkName, value string, name Name) error {
	if value == "" || len(value) > MaxAlias {
		return quinta.E(quinta.KindInvalid, "account", "an alias has 1 to 255 bytes")
	}
	if there, err := Exists(tx, name); err != nil {
		return err
	} else if !there {
		return quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	n, err := tx.Exec(`INSERT INTO account_alias (network, value, name) VALUES ($1, $2, $3)
		ON CONFLICT (network, value) DO UPDATE SET name = excluded.name WHERE account_alias.name = excluded.name`, network, value, name)
	if err == nil && n == 0 {
		return ErrAliasTaken
	}
	return err
}

// ByAlias returns the account that has an alias on a network, or an error of
// KindNotFound. It may be closed: its aliases stay taken.
func ByAlias(tx *db.Tx, network quinta.NetworkName, value string) (Name, error) {
	var n Name
	err := tx.Row(`SELECT name FROM account_alias WHERE network = $1 AND value = $2`, network, value).Scan(&n)
	if errors.Is(err, db.ErrNoRows) {
		return "", quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	return n, err
}

// Aliases returns the aliases of an account on a network, in byte order.
func Aliases(tx *db.Tx, network quinta.NetworkName, name Name) ([]string, error) {
	var out []string
	for row, err := range tx.Query(`SELECT value FROM account_alias WHERE name = $1 AND network = $2`, name, network) {
		if err != nil {
			return nil, err
		}
		var v string
		if err := row.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return out, nil
}

// RemoveAlias takes an alias from the account that has it; it can then be
// given to another.
func RemoveAlias(tx *db.Tx, network quinta.NetworkName, value string) error {
	return tx.Queue(`DELETE FROM account_alias WHERE network = $1 AND value = $2`, network, value)
}
