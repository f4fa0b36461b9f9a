package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// An AccountKeeper is a Front that stores more for an account than the account
// itself: devices, keys, messages.
type AccountKeeper interface {
	Front
	// AccountLogOut ends all logins of an account, in the transaction.
	AccountLogOut(tx *db.Tx, name account.Name) error
	// AccountClosing removes what the front keeps for an account that is
	// about to be closed, in the same transaction.
	AccountClosing(tx *db.Tx, name account.Name) error
}

// keepers calls fn with every front that is an AccountKeeper.
func (c *Core) keepers(fn func(AccountKeeper) error) error {
	for _, f := range c.fronts {
		if k, ok := f.(AccountKeeper); ok {
			if err := fn(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// CloseAccount ends an account and all that the networks keep for it. The
// name stays taken.
func (c *Core) CloseAccount(tx *db.Tx, name account.Name) error {
	if err := c.keepers(func(k AccountKeeper) error { return k.AccountClosing(tx, name) }); err != nil {
		return err
	}
	return account.Close(tx, name)
}

// An Exclusion is a network that an account cannot use, because of its name.
type Exclusion struct {
	Network quinta.NetworkName
	// Why says it in one line, for the operator.
	Why string
}

// Exclusions returns the networks of this server that cannot use a name.
func (c *Core) Exclusions(name account.Name) []Exclusion {
	var out []Exclusion
	for _, s := range c.running {
		if s.check == nil {
			continue
		}
		if err := s.check(c, name); err != nil {
			why := err.Error()
			if e, ok := errors.AsType[*quinta.Error](err); ok && e.Err != nil {
				why = e.Err.Error()
			}
			out = append(out, Exclusion{s.name, why})
		}
	}
	return out
}

// AddAccount makes an account with a password. A name that no network of this
// server can use is refused; see Exclusions for those that only some can.
func (c *Core) AddAccount(ctx context.Context, name, password string) error {
	n, err := account.ParseName(name)
	if err != nil {
		return err
	}
	if out := c.Exclusions(n); len(out) > 0 && len(out) == len(c.running) {
		return quinta.E(quinta.KindInvalid, "account", fmt.Sprintf("no network of this server can use the name: %s: %s", out[0].Network, out[0].Why))
	}
	hash, err := c.Passwords.Hash(c.Rand, password)
	if err != nil {
		return err
	}
	return c.Update(ctx, func(tx *db.Tx) error { return account.Create(tx, n, hash) })
}

// NewCode makes a login code for an account on one network, see
// [account.NewCode].
func (c *Core) NewCode(ctx context.Context, network quinta.NetworkName, name string) (string, error) {
	n, err := account.ParseName(name)
	if err != nil {
		return "", err
	}
	var code string
	err = c.Update(ctx, func(tx *db.Tx) (err error) {
		code, err = account.NewCode(tx, c.Rand, network, n)
		return err
	})
	return code, err
}

// SetPassword gives an account another password and, if logOut is set, ends
// all its logins.
func (c *Core) SetPassword(ctx context.Context, name, password string, logOut bool) error {
	n, err := account.ParseName(name)
	if err != nil {
		return err
	}
	hash, err := c.Passwords.Hash(c.Rand, password)
	if err != nil {
		return err
	}
	return c.Update(ctx, func(tx *db.Tx) error {
		if err := account.SetPassword(tx, n, hash); err != nil || !logOut {
			return err
		}
		return c.keepers(func(k AccountKeeper) error { return k.AccountLogOut(tx, n) })
	})
}

// RemoveAccount closes an account with all that is kept for it.
func (c *Core) RemoveAccount(ctx context.Context, name string) error {
	n, err := account.ParseName(name)
	if err != nil {
		return err
	}
	return c.UpdateAlways(ctx, func(tx *db.Tx) error {
		// Stored data are removed first, so an account that does not exist
		// must be refused before.
		if there, err := account.Exists(tx, n); err != nil {
			return err
		} else if !there {
			return quinta.E(quinta.KindNotFound, "account", "there is no such account")
		}
		return c.CloseAccount(tx, n)
	})
}

// Accounts returns up to limit accounts in the order of their names, beginning
// after the name given.
func (c *Core) Accounts(ctx context.Context, after string, limit int) ([]account.Account, error) {
	var out []account.Account
	err := c.View(ctx, func(tx *db.Tx) (err error) {
		out, err = account.List(tx, account.Name(after), limit)
		return err
	})
	return out, err
}

// Invite makes a token for registration.
func (c *Core) Invite(ctx context.Context, in account.Invite) (string, error) {
	var token string
	err := c.Update(ctx, func(tx *db.Tx) (err error) {
		token, err = account.NewInvite(tx, c.Rand, in)
		return err
	})
	return token, err
}
