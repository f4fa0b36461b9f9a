package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

// Commands that the networks bring for operators. This program knows none of
// them: it lists what they describe and runs it on the store.

// A networkOrder is one command of a network on its way to the store.
type networkOrder struct {
	Command string
	Input   server.CommandInput
}

var runNetwork = operation[networkOrder, string]{"network", func(ctx context.Context, core *server.Core, q networkOrder) (string, error) {
	out, err := core.RunCommand(ctx, q.Command, q.Input)
	return out, plain(err)
}}

// networkCommands makes a subcommand of every command of a network.
func networkCommands(networks []server.Network) (out []*command) {
	for _, n := range networks {
		for _, c := range n.Commands {
			out = append(out, networkCommand(c))
		}
	}
	return out
}

func networkCommand(nc server.Command) *command {
	usage := nc.Usage
	for _, f := range nc.Flags {
		text := f.Help
		if f.Default != "" {
			text += " (default " + f.Default + ")"
		}
		var b strings.Builder
		writeLines(&b, text)
		usage += fmt.Sprintf("\n    --%s VALUE\n", f.Name) + b.String()
	}
	return &command{Name: nc.Name, Short: nc.Line, Long: usage, Least: nc.Args, Most: nc.Args,
		Prepare: func(fs *flag.FlagSet) action {
			values := map[string]*string{}
			for _, f := range nc.Flags {
				values[f.Name] = fs.String(f.Name, f.Default, f.Help)
			}
			return func(ctx context.Context, p *program, c *config.Config, args []string) error {
				q := networkOrder{Command: nc.Name, Input: server.CommandInput{Args: args, Flags: map[string]string{}}}
				for name, v := range values {
					q.Input.Flags[name] = *v
				}
				out, err := do(ctx, p, c, runNetwork, q)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(p.stdout, out)
				return err
			}
		},
	}
}
