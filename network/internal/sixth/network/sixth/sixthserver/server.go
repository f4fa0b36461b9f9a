// Package sixthserver is the server half of the toy network: it takes posts at
// a TCP address, sorts them into the mailboxes of the recipients' devices, and
// hands them out.
//
// [Network] is its line in the list of networks.
package sixthserver

import (
	"context"
	_ "embed"
	"errors"
	"net"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/mailbox"
)

const (
	name    quinta.NetworkName = "sixth"
	listens string             = "sixth-listen"
)

//go:embed schema.sql
var schema string

// Network is the server half.
var Network = server.Network{
	Name:    name,
	Schemas: []db.Schema{{Set: "sixth", Base: schema}},
	Settings: []server.Setting{
		{Name: listens, Default: "127.0.0.1:0", Arg: "ADDR", Help: "the address of the toy network, on loopback", Check: checkListen},
	},
	Commands: []server.Command{{
		Name: "sixth code", Line: "make a login code for an account", Usage: "\nSixth code makes a login code and prints it.\n\n    quintad sixth code alice\n",
		Args: 1,
		Run: func(ctx context.Context, f server.Front, in server.CommandInput) (string, error) {
			code, err := f.(*front).NewCode(ctx, name, in.Args[0])
			return code + "\n", err
		},
	}},
	New: func(c *server.Core) (server.Front, error) { return &front{c}, nil },
}

func checkListen(v string) error {
	host, _, err := net.SplitHostPort(v)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return errors.New("it is not a loopback address, such as 127.0.0.1:0")
	}
	return nil
}

// front is the opened server half.
type front struct{ *server.Core }

var (
	_ server.StreamFront   = (*front)(nil)
	_ server.Runner        = (*front)(nil)
	_ server.AccountKeeper = (*front)(nil)
)

// Close has nothing to free.
func (f *front) Close() error { return nil }

// Streams is the address of the setting.
func (f *front) Streams() []string { return []string{f.Setting(listens)} }

// userOf is the user of an account.
func (f *front) userOf(who account.Name) quinta.UserID {
	return quinta.UserID(string(who) + "@" + f.Name)
}

// accountOf is the account of a user, as far as the name says.
func (f *front) accountOf(user quinta.UserID) (account.Name, error) {
	local, ok := strings.CutSuffix(string(user), "@"+f.Name)
	if !ok {
		return "", quinta.E(quinta.KindNotFound, "sixth", "there is no such user")
	}
	return account.ParseName(local)
}

// AccountLogOut implements server.AccountKeeper.
func (f *front) AccountLogOut(tx *db.Tx, who account.Name) error {
	user := f.userOf(who)
	all, err := device.List(tx, name, user)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := mailbox.Remove(tx, name, user, d.ID); err != nil {
			return err
		}
		if _, err := device.Remove(tx, name, user, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// AccountClosing implements server.AccountKeeper.
func (f *front) AccountClosing(tx *db.Tx, who account.Name) error { return f.AccountLogOut(tx, who) }
