package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var versionCommand = &command{
	Name:  "version",
	Short: "print the version",
	Long:  "Prints the version of quinta and of the Go that it was built with.\n\nExample: quinta version\n",
	Prepare: cli.Plain(func(ctx context.Context, a *app, args []string) error {
		v := "unknown"
		if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
			v = b.Main.Version
		}
		if a.opt.json {
			a.emit(struct {
				head
				Version string `json:"version"`
				Go      string `json:"go"`
			}{newHead("version"), v, runtime.Version()})
		}
		a.say("quinta %s %s", v, runtime.Version())
		return nil
	}),
}
