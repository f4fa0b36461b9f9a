package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userRemoveCommand = command{
	name: "user remove",
	line: "close an account",
	args: 1,
	usage: `
User remove closes an account permanently. Its devices, keys and stored data
are deleted; what it wrote in conversations remains. Its name cannot be used
again.

    quintad user remove alice
`,
	prepare: func(*flag.FlagSet) func(context.Context, *program, *config.Config, []string) error {
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
