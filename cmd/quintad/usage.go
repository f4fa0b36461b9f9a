package main

import (
	"fmt"
	"strings"
)

// overview is the text of "quintad help".
func (p *program) overview() string {
	var b strings.Builder
	b.WriteString(`Quintad is a server for end-to-end encrypted chats.

    quintad COMMAND [--SETTING VALUE ...]

To try it, with all data in ./quinta-data:

    quintad serve
    quintad user add alice

Commands:

`)
	for _, c := range p.commands {
		fmt.Fprintf(&b, "    %-16s %s\n", c.Name, c.Short)
	}
	b.WriteString("\nFor details: quintad COMMAND --help\n")
	return b.String()
}

// help is the text of "quintad COMMAND --help".
func (p *program) help(c *command) string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(c.Long, "\n"))
	b.WriteString(`
Settings. Each can also be set in the configuration file, as in "listen =
127.0.0.1:8008", or by an environment variable, as in QUINTA_ADMIN_LISTEN for
--admin-listen. A flag overrides the variable, which overrides the file.

    --config FILE
        the configuration file, also QUINTA_CONFIG
`)
	for _, k := range p.settings.Keys() {
		fmt.Fprintf(&b, "    --%s %s\n        %s", k.Name, k.Arg, k.Help)
		if k.Default != "" {
			fmt.Fprintf(&b, " (default %s)", k.Default)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
