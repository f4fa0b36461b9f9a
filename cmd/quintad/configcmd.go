package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var configPrintCommand = command{
	Name:  "config print",
	Short: "print all settings",
	Long: `
Config print prints every setting as a configuration file would have it, with
a description and where its value comes from. Passwords and other secrets are
not shown.

    quintad config print > quintad.conf
`,
	Prepare: func(*flag.FlagSet) action {
		return func(_ context.Context, p *program, c *config.Config, _ []string) error {
			var b strings.Builder
			for _, k := range p.settings.Keys() {
				fmt.Fprintf(&b, "# %s: %s\n# from: %s\n", k.Arg, k.Help, c.Origin(k.Name))
				v := k.Get(c)
				// A value that is not shown must not be read back as the value.
				if c.Origin(k.Name) == "default" || k.Secret {
					b.WriteString("# ")
				}
				fmt.Fprintf(&b, "%s = %s\n\n", k.Name, v)
			}
			_, err := fmt.Fprint(p.stdout, b.String())
			return err
		}
	},
}

var configCheckCommand = command{
	Name:  "config check",
	Short: "check the settings without starting",
	Long: `
Config check reads all settings, and the certificate if one is set, as serve
would, and reports the first error.

    quintad config check --config quintad.conf
`,
	Prepare: func(*flag.FlagSet) action {
		return func(_ context.Context, p *program, c *config.Config, _ []string) error {
			if _, err := loadTLS(c); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, "the settings can be used")
			return err
		}
	},
}
