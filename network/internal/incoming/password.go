package incoming

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// Password checks the password of an account, limited as [NewTry] says. A
// wrong name and a wrong password give ErrPassword in the same time. wait is
// when to try again, if that is not now. A hash of an earlier version that
// matches is replaced by one that [Digest] can use.
func Password(ctx context.Context, core *server.Core, by By, name account.Name, password string) (wait time.Duration, err error) {
	try, hash, wait, err := stored(ctx, core, by, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if !core.Passwords.Matches(hash, password) {
		return 0, ErrPassword
	}
	try.Right()
	fresh := hash
	if hash.Outdated() {
		if fresh, err = core.Passwords.Hash(core.Rand, password); err != nil {
			return 0, err
		}
	}
	if !hash.Outdated() && !try.by.note {
		return 0, nil
	}
	return 0, core.Update(ctx, func(tx *db.Tx) error {
		if hash.Outdated() {
			if err := account.Replace(tx, name, hash, fresh); err != nil {
				return err
			}
		}
		return try.remember(tx, name)
	})
}

// Digest is Password for clients that send the lower-case hexadecimal SHA-256
// of the password in its place. Where the account's hash is of an earlier
// version it gives ErrPassword and tells the operator.
func Digest(ctx context.Context, core *server.Core, by By, name account.Name, digest string) (wait time.Duration, err error) {
	try, hash, wait, err := stored(ctx, core, by, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if core.Passwords.MatchesDigest(hash, digest) {
		try.Right()
		if !try.by.note {
			return 0, nil
		}
		return 0, core.Update(ctx, func(tx *db.Tx) error { return try.remember(tx, name) })
	}
	if hash.Outdated() {
		core.Log.Warn("server: a login with the digest of a password was refused, because the stored hash is of an earlier version",
			"account", name, "hint", "log in once with a client that sends the password, or set it with 'quintad user password'")
	}
	return 0, ErrPassword
}

// Code checks a login code of an account on a network and uses it up, limited
// as [NewTry] says. A wrong name, a wrong code and one that has expired give
// ErrCode. wait is when to try again, if that is not now.
func Code(ctx context.Context, core *server.Core, network quinta.NetworkName, by By, name account.Name, code string) (wait time.Duration, err error) {
	try, wait := begin(core, by)
	if wait > 0 {
		return wait, nil
	}
	if err := core.Peek(ctx, func(tx *db.Tx) error { return try.look(tx, name) }); err != nil {
		return 0, err
	}
	if wait := try.at(name); wait > 0 {
		return wait, nil
	}
	right := false
	err = core.Update(ctx, func(tx *db.Tx) (err error) {
		if right, err = account.UseCode(tx, network, name, code); err != nil || !right {
			return err
		}
		return try.remember(tx, name)
	})
	if err != nil {
		return 0, err
	}
	if !right {
		return 0, ErrCode
	}
	try.Right()
	return 0, nil
}

// stored returns the hash to compare with, or how long to wait. What is not a
// name of an account has the hash that no password matches.
func stored(ctx context.Context, core *server.Core, by By, name account.Name) (try *Try, hash account.PasswordHash, wait time.Duration, err error) {
	if try, wait = begin(core, by); wait > 0 {
		return nil, hash, wait, nil
	}
	if _, err := account.ParseName(string(name)); err != nil {
		return try, hash, 0, nil
	}
	if err = core.View(ctx, func(tx *db.Tx) (err error) {
		if hash, err = account.Stored(tx, name); err != nil {
			return err
		}
		return try.look(tx, name)
	}); err != nil {
		return nil, hash, 0, err
	}
	if wait = try.at(name); wait > 0 {
		return nil, hash, wait, nil
	}
	return try, hash, 0, nil
}
