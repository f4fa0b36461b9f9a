package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userPasswordCommand = command{
	name: "user password",
	line: "give an account another password",
	args: 1,
	usage: `
User password replaces the password of an account.

    quintad user password alice
    quintad user password alice --generate --log-out

    --log-out
        end all logins of the account, too: what only its devices could read
        is lost to it unless it has a backup of its keys
` + passwordUsage,
	prepare: func(fs *flag.FlagSet) func(context.Context, *program, *config.Config, []string) error {
		var s passwordSource
		s.flags(fs)
		logOut := fs.Bool("log-out", false, "end all logins")
		return func(ctx context.Context, p *program, c *config.Config, args []string) error {
			return withPassword(ctx, p, c, &s, setPassword, credential{Name: args[0], LogOut: *logOut})
		}
	},
}
