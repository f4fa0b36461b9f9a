package main

import (
	"context"
	"fmt"
	"strings"
)

func manCommand() *command {
	return &command{
		name:  "man",
		short: "print the manual page",
		long:  "Prints the manual page, in the form of man(7).\n\nExample: quinta man | man -l -\n",
		run:   runMan,
	}
}

// exitText are the exit codes for the manual.
var exitText = []string{
	"done", "failed", "misused", "the server does not answer, or asks to come later", "not logged in, or not any more",
	"a key or an identity is not the one it should be", "a message cannot be read", "no such room, message, device or account",
}

// runMan writes the manual from the same texts as the help.
func runMan(ctx context.Context, a *app, args []string) error {
	if err := need(args, 0, 0); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(".TH QUINTA 1\n.SH NAME\nquinta \\- an end-to-end encrypted seat on a network\n.SH SYNOPSIS\n.B quinta\nCOMMAND [ARGUMENT ...] [\\-\\-flag ...]\n.SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, ".SS quinta %s\n.nf\n%s\n.fi\n", roff(strings.TrimSpace(c.name+prefixed(" ", c.args))), roff(strings.TrimSpace(c.long)))
	}
	fmt.Fprintf(&b, ".SH FLAGS OF EVERY COMMAND\n.nf\n%s\n.fi\n.SH EXIT STATUS\n", roff(strings.TrimSpace(common)))
	for code, text := range exitText {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code, roff(text))
	}
	b.WriteString(".SH FILES\n.TP\n.B ~/.local/share/quinta\naccounts and the key of their stores, unless QUINTA_HOME or XDG_DATA_HOME say otherwise\n")
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// roff escapes text for man(7).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
