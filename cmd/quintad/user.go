package main

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// The operations on the store behind the subcommands of "quintad user".

// A credential is an account with its new password.
type credential struct {
	Name, Password string
	LogOut         bool
}

// A changed is an account that was made or has a new password.
type changed struct {
	UserID string
	// Without are the networks that the account cannot use.
	Without []server.Exclusion
}

// A person is one line of the list of users.
type person struct {
	Name    string `json:"name"`
	UserID  string `json:"user_id"`
	Created int64  `json:"created"`
	Closed  bool   `json:"closed"`
	// Usage are the bytes that are kept for the account, by class, if asked for.
	Usage map[db.Class]int64 `json:"usage,omitempty"`
}

// A listing asks for a page of accounts.
type listing struct {
	After string
	Usage bool
}

// page is how many accounts go over the socket at once.
const page = 500

var (
	addUser = operation[credential, changed]{"user-add", func(ctx context.Context, core *server.Core, q credential) (changed, error) {
		if err := core.AddAccount(ctx, q.Name, q.Password); err != nil {
			return changed{}, plain(err)
		}
		return changed{UserID: userID(core, q.Name), Without: core.Exclusions(account.Name(q.Name))}, nil
	}}
	setPassword = operation[credential, changed]{"user-password", func(ctx context.Context, core *server.Core, q credential) (changed, error) {
		return changed{UserID: userID(core, q.Name)}, plain(core.SetPassword(ctx, q.Name, q.Password, q.LogOut))
	}}
	removeUser = operation[string, string]{"user-remove", func(ctx context.Context, core *server.Core, name string) (string, error) {
		return userID(core, name), plain(core.RemoveAccount(ctx, name))
	}}
	listUsers = operation[listing, []person]{"user-list", func(ctx context.Context, core *server.Core, q listing) ([]person, error) {
		as, err := core.Accounts(ctx, q.After, page)
		if err != nil {
			return nil, plain(err)
		}
		usage := map[account.Name]quota.Used{}
		if q.Usage {
			names := make([]account.Name, len(as))
			for i, a := range as {
				names[i] = a.Name
			}
			if usage, err = core.Usage(ctx, names); err != nil {
				return nil, plain(err)
			}
		}
		ps := make([]person, len(as))
		for i, a := range as {
			ps[i] = person{Name: string(a.Name), UserID: userID(core, string(a.Name)), Created: a.Created, Closed: a.Closed}
			if !q.Usage {
				continue
			}
			ps[i].Usage = map[db.Class]int64{}
			for _, class := range db.Classes() {
				ps[i].Usage[class] = usage[a.Name][class]
			}
		}
		return ps, nil
	}}
	newInvite = operation[account.Invite, invitation]{"user-invite", func(ctx context.Context, core *server.Core, in account.Invite) (invitation, error) {
		token, err := core.Invite(ctx, in)
		return invitation{Token: token, Registration: core.Registration}, plain(err)
	}}
)

// An invitation is a token, and who may register on the server anyway.
type invitation struct {
	Token        string
	Registration server.Registration
}

// userID is how the networks call an account, for people.
func userID(core *server.Core, name string) string { return "@" + name + ":" + core.Name }

// plain takes the name of the operation off an error of the core: the
// operator knows what was asked.
func plain(err error) error {
	if e, ok := errors.AsType[*quinta.Error](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}
