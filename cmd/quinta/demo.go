package main

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var demoCommand = &command{
	Name:  "demo",
	Short: "show how to run the demo",
	Long: `The demo needs a server, and this program contains none, so the demo is a
command of the server program. It starts a server inside its own process, and
two people who talk through it. For each message it shows what was written,
what the server stored, and what was read.

Example: quintad demo
`,
	Prepare: cli.Plain(runDemo),
}

func runDemo(ctx context.Context, a *app, args []string) error {
	return failed(exitFailed, "run: quintad demo", errors.New("the demo needs a server, which this program does not contain"))
}
