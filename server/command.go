package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta"
)

// A Command is something that an operator can do with one network, such as
// "ca show". The program that runs it knows only this description: so a new
// network brings its commands along.
type Command struct {
	// Name is what is typed on the command line, one or two words; Line says in
	// one line what it does, and Usage all, with an example.
	Name, Line, Usage string
	// Args is how many arguments it takes besides flags.
	Args int
	// Flags are its own flags.
	Flags []CommandFlag
	// Run does it and returns what is to be printed. f is the network's front.
	Run func(ctx context.Context, f Front, in CommandInput) (string, error)
}

// A CommandFlag is one flag of a command. Secrets are never flags.
type CommandFlag struct {
	Name, Default string
	// Help is one line.
	Help string
}

// A CommandInput is what was given on the command line.
type CommandInput struct {
	Args []string
	// Flags has the value of every flag of the command.
	Flags map[string]string
}

// An order runs one command on its front.
type order func(ctx context.Context, in CommandInput) (string, error)

// contribute notes the commands of a network.
func (c *Core) contribute(n Network, f Front) {
	if c.commands == nil {
		c.commands = map[string]order{}
	}
	for _, cmd := range n.Commands {
		c.commands[cmd.Name] = func(ctx context.Context, in CommandInput) (string, error) {
			if len(in.Args) != cmd.Args {
				return "", quinta.E(quinta.KindInvalid, cmd.Name, fmt.Sprintf("it takes %d arguments, and %d were given", cmd.Args, len(in.Args)))
			}
			flags := map[string]string{}
			for _, f := range cmd.Flags {
				flags[f.Name] = f.Default
			}
			for name, v := range in.Flags {
				if _, ok := flags[name]; !ok {
					return "", &quinta.Error{Kind: quinta.KindInvalid, Op: cmd.Name, Err: errors.New("there is no such flag")}
				}
				flags[name] = v
			}
			return cmd.Run(ctx, f, CommandInput{Args: in.Args, Flags: flags})
		}
	}
}

// RunCommand runs a command that a network has contributed and returns what
// is to be printed.
func (c *Core) RunCommand(ctx context.Context, name string, in CommandInput) (string, error) {
	run := c.commands[name]
	if run == nil {
		return "", quinta.E(quinta.KindNotFound, "", "this server has no such command")
	}
	return run(ctx, in)
}
