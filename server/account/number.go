package account

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// Number returns the number of an account, closed or not: 1, 2, 3 ... in the
// order in which accounts were made, and never another account's. An account
// that does not exist gives an error of KindNotFound.
func Number(tx *db.Tx, name Name) (int64, error) {
	var n int64
	err := tx.Row(`SELECT number FROM account_number WHERE name = $1`, name).Scan(&n)
	if errors.Is(err, db.ErrNoRows) {
		return 0, quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	return n, err
}

// ByNumber returns the account, closed or not, that has a number, or an error
// of KindNotFound.
func ByNumber(tx *db.Tx, number int64) (Name, error) {
	var n Name
	err := tx.Row(`SELECT name FROM account_number WHERE number = $1`, number).Scan(&n)
	if errors.Is(err, db.ErrNoRows) {
		return "", quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	return n, err
}

// giveNumber gives a new account its number.
func giveNumber(tx *db.Tx, name Name) error {
	return tx.Queue(`INSERT INTO account_number (name, number) SELECT $1, COALESCE(MAX(number), 0) + 1 FROM account_number`, name)
}
