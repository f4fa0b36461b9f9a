// Package account keeps the accounts of a server: a name, a number, a
// password hash, a profile, aliases and login codes; and the invitations to
// register.
//
// A person has one account. Its name is a local part; each network derives
// its own user id from it and keeps it stable. The two functions to begin
// with are [Create] and [Stored]. Passwords reach this package in clear, or
// as their SHA-256, and never leave it in either form.
package account

import (
	"embed"
	"errors"
	"regexp"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("account", tables)

// A Name is the local part of an account: lower-case letters, digits and
// "._=-/+", at most MaxName bytes. Not every network can use every name.
type Name string

// MaxName is the maximum length of a Name in bytes.
const MaxName = 128

var nameForm = regexp.MustCompile(`^[a-z0-9._=/+-]{1,128}$`)

// ParseName checks the form of a name. Upper-case letters are refused, not
// folded, so that two writings never mean one account.
func ParseName(s string) (Name, error) {
	if !nameForm.MatchString(s) {
		return "", quinta.E(quinta.KindInvalid, "account", "a name has 1 to 128 of the characters a-z, 0-9 and ._=-/+")
	}
	return Name(s), nil
}

// An Account is what is known of one person, without the password.
type Account struct {
	Name Name
	// Created is when, in Unix milliseconds.
	Created int64
	// Closed says that the account was deactivated. Its name stays taken.
	Closed bool
	// HasPassword says that the account can log in by password.
	HasPassword bool
}

// ErrTaken is returned by Create for a name that exists or has existed.
var ErrTaken = &quinta.Error{Kind: quinta.KindExists, Op: "account", Err: errors.New("the name is taken")}

// Create makes an account with a password hash from [Hasher.Hash], or with the empty
// hash, which lets no one log in by password.
func Create(tx *db.Tx, name Name, hash PasswordHash) error {
	n, err := tx.Exec(`INSERT INTO account (name, password, created) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`,
		name, hash.phc, tx.Millis())
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrTaken
	}
	return giveNumber(tx, name)
}

// Get returns an account, or an error of KindNotFound.
func Get(tx *db.Tx, name Name) (Account, error) {
	a := Account{Name: name}
	var closed *int64
	err := tx.Row(`SELECT created, closed, password <> '' FROM account WHERE name = $1`, name).Scan(&a.Created, &closed, &a.HasPassword)
	if errors.Is(err, db.ErrNoRows) {
		return a, quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	a.Closed = closed != nil
	return a, err
}

// Exists reports whether the account is there and not closed.
func Exists(tx *db.Tx, name Name) (bool, error) {
	var n int
	err := tx.Row(`SELECT COUNT(*) FROM account WHERE name = $1 AND closed IS NULL`, name).Scan(&n)
	return n > 0, err
}

// Taken reports whether the name is in use or was in use.
func Taken(tx *db.Tx, name Name) (bool, error) {
	var n int
	err := tx.Row(`SELECT COUNT(*) FROM account WHERE name = $1`, name).Scan(&n)
	return n > 0, err
}

// List returns up to limit accounts in the order of their names, beginning
// after the name given.
func List(tx *db.Tx, after Name, limit int) ([]Account, error) {
	var out []Account
	for row, err := range tx.Query(`SELECT name, created, closed, password <> '' FROM account WHERE name > $1 ORDER BY name LIMIT $2`, after, limit) {
		if err != nil {
			return nil, err
		}
		var a Account
		var closed *int64
		if err := row.Scan(&a.Name, &a.Created, &closed, &a.HasPassword); err != nil {
			return nil, err
		}
		a.Closed = closed != nil
		out = append(out, a)
	}
	return out, nil
}

// SetPassword replaces the password hash of an account that is not closed.
func SetPassword(tx *db.Tx, name Name, hash PasswordHash) error {
	n, err := tx.Exec(`UPDATE account SET password = $1 WHERE name = $2 AND closed IS NULL`, hash.phc, name)
	if err == nil && n == 0 {
		err = quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	return err
}

// Close deactivates an account: it can no longer log in and has no profile.
// The caller removes what the account's devices keep.
func Close(tx *db.Tx, name Name) error {
	n, err := tx.Exec(`UPDATE account SET password = '', closed = $1 WHERE name = $2 AND closed IS NULL`, tx.Millis(), name)
	if err != nil {
		return err
	}
	if n == 0 {
		return quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	for _, sql := range []string{`DELETE FROM account_code WHERE name = $1`, `DELETE FROM account_address WHERE name = $1`} {
		if err := tx.Queue(sql, name); err != nil {
			return err
		}
	}
	return tx.Queue(`DELETE FROM account_profile WHERE name = $1`, name)
}
