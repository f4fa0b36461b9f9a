package account

import (
	"errors"
	"time"

	"github.com/quinta-chat/quinta/server/db"
)

const (
	// maxAddresses is how many addresses are remembered for an account: those
	// of the last logins.
	maxAddresses = 32
	// addressLife is how long an address is remembered after a login, in
	// milliseconds.
	addressLife = int64(365 * 24 * time.Hour / time.Millisecond)
	// addressStep is how old the last login may be before a new one is noted, in
	// milliseconds.
	addressStep = int64(24 * time.Hour / time.Millisecond)
)

// An Address is the hash under which an address is remembered.
type Address [32]byte

// CameFrom reports whether an account has logged in from an address in the last
// year, and whether another login from there is to be noted with [Came].
func CameFrom(tx *db.Tx, name Name, from Address) (known, note bool, err error) {
	var seen int64
	err = tx.Row(`SELECT seen FROM account_address WHERE name = $1 AND hash = $2`, name, from[:]).Scan(&seen)
	if errors.Is(err, db.ErrNoRows) {
		return false, true, nil
	}
	age := tx.Millis() - seen
	return err == nil && age <= addressLife, age > addressStep, err
}

// Came notes that an account has logged in from an address. The addresses
// beyond the last 32 are forgotten.
func Came(tx *db.Tx, name Name, from Address) error {
	if _, err := tx.Exec(`INSERT INTO account_address (name, hash, seen) VALUES ($1, $2, $3)
		ON CONFLICT (name, hash) DO UPDATE SET seen = excluded.seen`, name, from[:], tx.Millis()); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM account_address WHERE name = $1 AND (seen < $2 OR hash NOT IN
		(SELECT hash FROM account_address WHERE name = $1 ORDER BY seen DESC, hash LIMIT $3))`, name, tx.Millis()-addressLife, maxAddresses)
}
