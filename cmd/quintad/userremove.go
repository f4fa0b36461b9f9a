package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userRemoveCommand = command{
	Name:  "user remove",
	Short: "close an account",
	Least: 1, Most: 1,
	Long: `
User remove closes an account permanently. Its devices, keys and stored data
are deleted; messages that it sent remain in their conversations. Its name
cannot be used again.

    quintad user remove alice
`,
	Prepare: func(*flag.FlagSet) action {
		return func(ctx context.Context, p *program, c *config.Config, args []string) error {
			id, err := do(ctx, p, c, removeUser, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, id)
			return err
		}
	},
}
