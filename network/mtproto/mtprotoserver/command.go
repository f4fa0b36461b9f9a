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
Mtproto key prints the public key of each of the server's keys in PEM form, its
fingerprint as other clients write it, and its SHA-256, which Quinta shows when
it logs in for the first time. Other clients need the key to connect to this server. Quinta
needs it only for a tcp address: it fetches the key from a web address.

    quintad mtproto key > server.pem
`,
		Run: onServer(commandKey),
	},
	{
		Name: "user code", Line: "show the login code that somebody asks for",
		Usage: `
User code prints the code with which somebody logs in to secret chats now. A
client asks for it; it has five digits, is good for five minutes and five tries,
and is also shown on the account's other devices. The server sends no text
messages, so you read it out.

With --fix, you give the account a code that always holds, for a machine or a
test: whoever knows it can log in as that account whenever they like. The server
warns about it at every start. "--fix none" ends that.

    quintad user code alice
    quintad user code robot --fix 4711081547110815
`,
		Args:  1,
		Flags: []server.CommandFlag{{Name: "fix", Help: "a code that always holds, 5 to 20 digits, or none"}},
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
		err = quinta.E(quinta.KindNotFound, "mtproto", "there is no account of this name")
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
