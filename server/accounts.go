package server

import (
	"context"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// An AccountKeeper is a Front that keeps things for an account beside the
// account itself: devices, keys, messages.
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

// maxUserID is what "@name:server" may have at most, in bytes.
const maxUserID = 255

// AddAccount makes an account with a password.
func (c *Core) AddAccount(ctx context.Context, name, password string) error {
	n, err := account.ParseName(name)
	if err != nil {
		return err
	}
	if len(name)+len(c.Name)+2 > maxUserID {
		return quinta.E(quinta.KindInvalid, "account", fmt.Sprintf("the name is too long: with the server name it has %d bytes at most", maxUserID))
	}
	hash, err := account.Hash(c.Rand, password)
	if err != nil {
		return err
	}
	return c.Update(ctx, func(tx *db.Tx) error { return account.Create(tx, n, hash) })
}

// SetPassword gives an account another password and, if logOut is set, ends
// all its logins.
func (c *Core) SetPassword(ctx context.Context, name, password string, logOut bool) error {
	n, err := account.ParseName(name)
	if err != nil {
		return err
	}
	hash, err := account.Hash(c.Rand, password)
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
	return c.Update(ctx, func(tx *db.Tx) error {
		// What is kept goes first, so an account that is not there must be
		// refused before.
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
