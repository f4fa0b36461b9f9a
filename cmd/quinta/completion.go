package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

func completionCommand() *command {
	return &command{
		Name:  "completion",
		Args:  "bash|zsh|fish",
		Short: "print a completion script for a shell",
		Long:  "Prints a script that completes the commands and flags of quinta in a shell.\n\nExample: source <(quinta completion bash)\n",
		Subs:  []string{"bash", "zsh", "fish"},
		Least: 1, Most: 1,
		Prepare: cli.Plain(runCompletion),
	}
}

func runCompletion(ctx context.Context, a *app, args []string) error {
	var names []string
	for _, c := range commands() {
		names = append(names, c.Name)
	}
	switch args[0] {
	case "bash", "zsh":
		if args[0] == "zsh" {
			fmt.Fprintln(a.out, "autoload -U +X bashcompinit && bashcompinit")
		}
		fmt.Fprintf(a.out, "_quinta() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words=\n  if [ \"$COMP_CWORD\" -eq 1 ]; then words=%q\n  else case ${COMP_WORDS[1]} in\n",
			strings.Join(append(names, "help"), " "))
		for _, c := range commands() {
			fmt.Fprintf(a.out, "    %s) words=%q ;;\n", c.Name, strings.Join(append(c.Subs, flagsOf(c)...), " "))
		}
		fmt.Fprintf(a.out, "    help) words=%q ;;\n  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _quinta quinta\n", strings.Join(names, " "))
	case "fish":
		for _, c := range commands() {
			fmt.Fprintf(a.out, "complete -c quinta -n __fish_use_subcommand -a %s -d %q\n", c.Name, c.Short)
			for _, s := range c.Subs {
				fmt.Fprintf(a.out, "complete -c quinta -n '__fish_seen_subcommand_from %s' -a %s\n", c.Name, s)
			}
			for _, f := range flagsOf(c) {
				fmt.Fprintf(a.out, "complete -c quinta -n '__fish_seen_subcommand_from %s' -l %s\n", c.Name, strings.TrimPrefix(f, "--"))
			}
		}
	default:
		return misused("the shells are bash, zsh and fish")
	}
	return nil
}

// flagsOf lists the flags of a command; those of every command come last.
func flagsOf(c *command) []string {
	var out []string
	for _, f := range c.Flags() {
		out = append(out, "--"+f)
	}
	return append(out, "--account", "--home", "--json", "--timeout", "--key-file", "--passphrase-fd")
}
