package mtprotoserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// commands are what an operator can do with the network.
var commands = []server.Command{
	{
		Name: "mtproto key", Line: "print the keys that clients of secret chats need",
		Usage: `
Mtproto key prints the server's public keys: each in PEM form, with its
fingerprint as other clients write it, and its SHA-256, which quinta shows at
its first login. Other clients need a key to connect to this server. Quinta
needs one only for a tcp address; from a web address, it fetches the key itself.

    quintad mtproto key > server.pem
`,
		Run: onServer(commandKey),
	},
	{
		Name: "user code", Line: "show or set the login code of an account",
		Usage: `
User code prints the current login code of an account, for secret chats. A code
is created when a client asks the server for one. It has five digits, is valid
for five minutes and five attempts, and is also shown on the account's other
devices. The server sends no text messages, so tell the user the code yourself.

With --fix, you give the account a permanent code, for a bot or a test: anyone
who knows it can log in as that account at any time. The server warns about it
at every start. "--fix none" removes it.

    quintad user code alice
    quintad user code robot --fix 4711081547110815
`,
		Args:  1,
		Flags: []server.CommandFlag{{Name: "fix", Help: "a permanent code of 5 to 20 digits, or none"}},
		Run:   onServer(commandCode),
	},
	{
		Name: "user number", Line: "show or set the number of an account",
		Usage: `
User number prints the number with which an account logs in to secret chats.
Every account starts with a number of its own: +888 and eight digits. With
--set, you can give it any other number that is not taken.

    quintad user number alice
    quintad user number alice --set +15551234567
`,
		Args:  1,
		Flags: []server.CommandFlag{{Name: "set", Help: "the new number of the account"}},
		Run:   onServer(commandNumber),
	},
	{
		Name: "user two-step", Line: "show or remove the two-step password of an account",
		Usage: `
User two-step says whether an account has a two-step password, which its devices
ask for after the login code of secret chats. No one can read the password.

With --set none, you remove the password if a user has forgotten it: from then
on, the login code is enough. Devices that are logged in stay logged in; logins
that were waiting for the password have to start again.

    quintad user two-step alice
    quintad user two-step alice --set none
`,
		Args:  1,
		Flags: []server.CommandFlag{{Name: "set", Help: "the only value is none, which removes the password"}},
		Run:   onServer(commandTwoStep),
	},
}

// onServer gives a command its server.
func onServer(run func(context.Context, *mtprotoServer, server.CommandInput) (string, error)) func(context.Context, server.Front, server.CommandInput) (string, error) {
	return func(ctx context.Context, f server.Front, in server.CommandInput) (string, error) {
		s, ok := f.(*mtprotoServer)
		if !ok {
			return "", errors.New("mtproto: the command is for another network")
		}
		return run(ctx, s, in)
	}
}

func commandKey(ctx context.Context, s *mtprotoServer, _ server.CommandInput) (string, error) {
	sec, err := s.secrets(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, k := range sec.rsa {
		fmt.Fprintf(&b, "%sfingerprint %d (%016x)\nSHA-256 %s\n", wire.PublicPEM(&k.PublicKey), k.fingerprint, uint64(k.fingerprint), wire.KeyHash(&k.PublicKey))
	}
	return b.String(), nil
}

// existing parses the name of an account that there is.
func existing(tx *db.Tx, text string) (account.Name, error) {
	who, err := account.ParseName(text)
	if err != nil {
		return "", err
	}
	there, err := account.Exists(tx, who)
	if err == nil && !there {
		err = quinta.E(quinta.KindNotFound, "mtproto", "there is no account with this name")
	}
	return who, err
}

func commandNumber(ctx context.Context, s *mtprotoServer, in server.CommandInput) (number string, err error) {
	err = s.Update(ctx, func(tx *db.Tx) error {
		who, err := existing(tx, in.Args[0])
		if err != nil {
			return err
		}
		if set := in.Flags["set"]; set != "" {
			if err := setNumber(tx, who, set); err != nil {
				return err
			}
		}
		number, err = phoneOf(tx, who)
		return err
	})
	return "+" + number + "\n", err
}

func commandTwoStep(ctx context.Context, s *mtprotoServer, in server.CommandInput) (out string, err error) {
	set := in.Flags["set"]
	if set != "" && set != "none" {
		return "", quinta.E(quinta.KindInvalid, "mtproto", "only the user can set a two-step password; the operator can remove it (--set none)")
	}
	err = s.Update(ctx, func(tx *db.Tx) error {
		who, err := existing(tx, in.Args[0])
		if err != nil {
			return err
		}
		if set == "none" {
			out = "the two-step password was removed\n"
			return removePassword(tx, who)
		}
		has := false
		if err := tx.Row(`SELECT EXISTS (SELECT 1 FROM mtproto_password WHERE account = $1)`, who).Scan(&has); err != nil {
			return err
		}
		out = "the account has no two-step password\n"
		if has {
			out = "the account has a two-step password\n"
		}
		return nil
	})
	return out, err
}

// setNumber gives an account a number in the place of the one that it has.
func setNumber(tx *db.Tx, who account.Name, text string) error {
	digits := digitsOf(text)
	if len(digits) < 5 {
		return quinta.E(quinta.KindInvalid, "mtproto", "a number has 5 to 20 digits")
	}
	if has, err := byPhone(tx, digits); err != nil {
		return err
	} else if has != "" && has != who {
		return account.ErrAliasTaken
	}
	old, err := account.Aliases(tx, name, who)
	if err != nil {
		return err
	}
	for _, a := range old {
		if err := account.RemoveAlias(tx, name, a); err != nil {
			return err
		}
	}
	return account.SetAlias(tx, name, digits, who)
}
