package main

import (
	"context"
	"flag"
	"fmt"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

var userInviteCommand = command{
	Name:  "user invite",
	Short: "create a token for registration",
	Long: `
User invite creates a token and prints it. Anyone who has the token can
register in a client if the server runs with --registration invite.

    quintad user invite
    quintad user invite --uses 20 --valid 24h

    --uses N
        the number of registrations; 0 means any number (default 1)
    --valid DURATION
        how long the token is valid; 0 means forever (default 168h)
`,
	Prepare: func(fs *flag.FlagSet) action {
		uses := fs.Int64("uses", 1, "how many registrations")
		valid := fs.Duration("valid", 7*24*time.Hour, "for how long")
		return func(ctx context.Context, p *program, c *config.Config, _ []string) error {
			if *uses < 0 || *valid < 0 {
				return cli.Misused("--uses and --valid cannot be negative")
			}
			in := account.Invite{Uses: *uses}
			if *valid > 0 {
				in.Expires = time.Now().Add(*valid).UnixMilli()
			}
			got, err := do(ctx, p, c, newInvite, in)
			if err != nil {
				return err
			}
			if got.Registration != server.RegistrationInvite {
				p.say("hint", fmt.Sprintf("registration is %s: the token works once the server runs with --registration invite", got.Registration))
			}
			_, err = fmt.Fprintln(p.stdout, got.Token)
			return err
		}
	},
}
