package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

func completionCommand() *command {
	return &command{
		name:  "completion",
		args:  "bash|zsh|fish",
		short: "print a script that completes commands in a shell",
		long:  "Prints a script for a shell.\n\nExample: source <(quinta completion bash)\n",
		subs:  []string{"bash", "zsh", "fish"},
		run:   runCompletion,
	}
}

func runCompletion(ctx context.Context, a *app, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	switch args[0] {
	case "bash", "zsh":
		if args[0] == "zsh" {
			fmt.Fprintln(a.out, "autoload -U +X bashcompinit && bashcompinit")
		}
		fmt.Fprintf(a.out, "_quinta() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words=\n  if [ \"$COMP_CWORD\" -eq 1 ]; then words=%q\n  else case ${COMP_WORDS[1]} in\n",
			strings.Join(append(names, "help"), " "))
		for _, c := range commands() {
			fmt.Fprintf(a.out, "    %s) words=%q ;;\n", c.name, strings.Join(append(c.subs, flagsOf(c)...), " "))
		}
		fmt.Fprintf(a.out, "    help) words=%q ;;\n  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _quinta quinta\n", strings.Join(names, " "))
	case "fish":
		for _, c := range commands() {
			fmt.Fprintf(a.out, "complete -c quinta -n __fish_use_subcommand -a %s -d %q\n", c.name, c.short)
			for _, s := range c.subs {
				fmt.Fprintf(a.out, "complete -c quinta -n '__fish_seen_subcommand_from %s' -a %s\n", c.name, s)
			}
			for _, f := range flagsOf(c) {
				fmt.Fprintf(a.out, "complete -c quinta -n '__fish_seen_subcommand_from %s' -l %s\n", c.name, strings.TrimPrefix(f, "--"))
			}
		}
	default:
		return misused("the shells are bash, zsh and fish")
	}
	return nil
}

// flagsOf lists the flags of a command, those of all commands last.
func flagsOf(c *command) []string {
	var out []string
	if c.flags != nil {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		c.flags(fs, &options{})
		fs.VisitAll(func(f *flag.Flag) { out = append(out, "--"+f.Name) })
	}
	return append(out, "--account", "--home", "--json", "--timeout", "--key-file", "--passphrase-fd")
}
