package main

import (
	"context"
	"errors"
	"flag"
)

var demoCommand = &command{
	name:  "demo",
	short: "how to see two people talk, and what the server sees",
	long: `The demo runs a server, and this program contains none: it is a command of the
server program. It starts a server inside its own process and two people who
talk through it, and shows what was written, what the server stored, and what
was read.

Example: quintad demo
`,
	flags: func(fs *flag.FlagSet, o *options) {},
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return failed(exitFailed, "run: quintad demo", errors.New("the demo needs a server, which this program does not contain"))
	},
}
