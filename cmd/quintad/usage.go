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
	b.WriteString("\n\"quintad help COMMAND\" describes a command and all settings, with an example.\n")
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
		text := k.Help
		if k.Default != "" {
			text += " (default " + k.Default + ")"
		}
		fmt.Fprintf(&b, "    --%s %s\n", k.Name, k.Arg)
		writeLines(&b, text)
	}
	return b.String()
}

// writeLines writes text in indented lines of at most 80 characters, unless a
// single word is longer.
func writeLines(b *strings.Builder, text string) {
	const indent = "        "
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+len(word) >= 80 {
			b.WriteString(indent + line + "\n")
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	b.WriteString(indent + line + "\n")
}
