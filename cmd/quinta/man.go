package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

func manCommand() *command {
	return &command{
		Name:    "man",
		Short:   "print the manual page",
		Long:    "Prints the manual page in the format of man(7).\n\nExample: quinta man | man -l -\n",
		Prepare: cli.Plain(runMan),
	}
}

// exitText are the exit codes for the manual.
var exitText = []string{
	"done", "failed", "misused", "the server does not answer, or asks to try again later", "not logged in, or no longer",
	"a key or an identity is not the expected one", "a message cannot be read", "no such room, message, device or account",
}

// runMan prints the manual page, which has the same texts as the help.
func runMan(ctx context.Context, a *app, args []string) error {
	var b strings.Builder
	b.WriteString(".TH QUINTA 1\n.SH NAME\nquinta \\- a client for end-to-end encrypted networks\n.SH SYNOPSIS\n.B quinta\nCOMMAND [ARGUMENT ...] [\\-\\-flag ...]\n.SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, ".SS quinta %s\n.nf\n%s\n.fi\n", roff(usageOf(c)), roff(strings.TrimSpace(c.Long)))
	}
	fmt.Fprintf(&b, ".SH FLAGS OF EVERY COMMAND\n.nf\n%s\n.fi\n.SH EXIT STATUS\n", roff(strings.TrimSpace(common)))
	for code, text := range exitText {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code, roff(text))
	}
	b.WriteString(".SH FILES\n.TP\n.B ~/.local/share/quinta\naccounts, and the key file of their stores, unless QUINTA_HOME or XDG_DATA_HOME is set\n")
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
