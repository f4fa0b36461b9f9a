package main

import (
	"context"
	"runtime"
	"runtime/debug"
)

var versionCommand = &command{
	name:  "version",
	short: "print the version",
	long:  "Prints the version of the program and of Go.\n",
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
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
	},
}
