package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userPasswordCommand = command{
	Name:  "user password",
	Short: "set a new password for an account",
	Least: 1, Most: 1,
	Long: `
User password replaces the password of an account.

    quintad user password alice
    quintad user password alice --generate --log-out

    --log-out
        also log out all devices of the account: messages that only they could
        read are lost unless the user has a backup of their keys
` + passwordUsage,
	Prepare: func(fs *flag.FlagSet) action {
		var s passwordSource
		s.flags(fs)
		logOut := fs.Bool("log-out", false, "end all logins")
		return func(ctx context.Context, p *program, c *config.Config, args []string) error {
			return withPassword(ctx, p, c, &s, setPassword, credential{Name: args[0], LogOut: *logOut})
		}
	},
}
