package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var versionCommand = command{
	Name:  "version",
	Short: "print the version",
	Long: `
Version prints the versions of quintad and Go, and the platform.

    quintad version
`,
	Prepare: func(*flag.FlagSet) action {
		return func(_ context.Context, p *program, _ *config.Config, _ []string) error {
			_, err := fmt.Fprintf(p.stdout, "quintad %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}
	},
}

// version is what Go stamped into the program: a release or a revision.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
