package incoming

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// Password checks the password of an account, bounded per address and account.
// A wrong name and a wrong password give ErrPassword in the same time. wait is
// when to try again, if that is not now. A hash of an earlier version that
// matches is replaced by one that [Digest] can use.
func Password(ctx context.Context, core *server.Core, addr string, name account.Name, password string) (wait time.Duration, err error) {
	hash, wait, err := stored(ctx, core, addr, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if !core.Passwords.Matches(hash, password) {
		return 0, ErrPassword
	}
	if !hash.Outdated() {
		return 0, nil
	}
	fresh, err := core.Passwords.Hash(core.Rand, password)
	if err != nil {
		return 0, err
	}
	return 0, core.Update(ctx, func(tx *db.Tx) error { return account.Replace(tx, name, hash, fresh) })
}

// Digest is Password for clients that send the lower-case hexadecimal SHA-256
// of the password in its place. Where the account's hash is of an earlier
// version it gives ErrPassword and tells the operator.
func Digest(ctx context.Context, core *server.Core, addr string, name account.Name, digest string) (wait time.Duration, err error) {
	hash, wait, err := stored(ctx, core, addr, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if core.Passwords.MatchesDigest(hash, digest) {
		return 0, nil
	}
	if hash.Outdated() {
		core.Log.Warn("server: a login with the digest of a password was refused, because the stored hash is of an earlier version",
			"account", name, "hint", "log in once with a client that sends the password, or set it with 'quintad user password'")
	}
	return 0, ErrPassword
}

// Code checks a login code of an account on a network and uses it up, bounded
// per address and account. A wrong name, a wrong code and one that has expired
// give ErrCode. wait is when to try again, if that is not now.
func Code(ctx context.Context, core *server.Core, network quinta.NetworkName, addr string, name account.Name, code string) (wait time.Duration, err error) {
	if wait := allow(core, addr, name); wait > 0 {
		return wait, nil
	}
	right := false
	err = core.Update(ctx, func(tx *db.Tx) (err error) {
		right, err = account.UseCode(tx, network, name, code)
		return err
	})
	if err == nil && !right {
		err = ErrCode
	}
	return 0, err
}

// allow bounds the logins of an address and of an account.
func allow(core *server.Core, addr string, name account.Name) time.Duration {
	wait := core.Limits.Allow("login", addr, server.RateLogin, 1)
	return max(wait, core.Limits.Allow("login-account", string(name), server.RateLogin, 1))
}

// stored returns the hash to compare with, or how long to wait.
func stored(ctx context.Context, core *server.Core, addr string, name account.Name) (hash account.PasswordHash, wait time.Duration, err error) {
	if wait := allow(core, addr, name); wait > 0 {
		return hash, wait, nil
	}
	err = core.Peek(ctx, func(tx *db.Tx) (err error) {
		hash, err = account.Stored(tx, name)
		return err
	})
	return hash, 0, err
}
