// Quintad is the server of Quinta: one program, one folder of data, no
// configuration to begin with.
//
//	quintad serve
//
// Each file named after a subcommand holds that subcommand; settings are in
// package config. Results go to stdout, all else to stderr.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
)

// The exit codes.
const (
	done    = 0
	failed  = 1
	misused = 2
)

// A program is what a subcommand gets from outside.
type program struct {
	stdin          *os.File
	stdout, stderr io.Writer
	environ        []string

	networks []server.Network
	settings *config.Table
	// commands are all subcommands, in the order in which people meet them.
	commands []*command
}

// newProgram makes a program that knows these networks.
func newProgram(networks []server.Network) (*program, error) {
	var own []string
	for _, c := range slices.Concat(storeCommands, otherCommands) {
		own = append(own, c.Name)
	}
	settings, err := config.New(networks, append(own, "help"))
	return &program{networks: networks, settings: settings, commands: slices.Concat(storeCommands, networkCommands(networks), otherCommands)}, err
}

// An action is what a command does with the settings and its arguments.
type action = func(ctx context.Context, p *program, c *config.Config, args []string) error

// A command is one subcommand. Its file is named after it.
type command = cli.Command[action]

// storeCommands and otherCommands are those of the program itself; those of
// the networks stand between.
var storeCommands = []*command{
	&serveCommand,
	&userAddCommand,
	&userListCommand,
	&userPasswordCommand,
	&userRemoveCommand,
	&userInviteCommand,
	&backupCommand,
	&restoreCommand,
}

var otherCommands = []*command{
	&demoCommand,
	&configPrintCommand,
	&configCheckCommand,
	&versionCommand,
}

func main() {
	// The first signal asks for an orderly end; a second one ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	// Only the server's user may read the files that it writes.
	syscall.Umask(0o077)
	p, err := newProgram(servers.All())
	if err != nil {
		panic("quintad: internal error: " + err.Error())
	}
	p.stdin, p.stdout, p.stderr, p.environ = os.Stdin, os.Stdout, os.Stderr, os.Environ()
	os.Exit(p.run(ctx, os.Args[1:]))
}

// A hinted error has a hint what to do.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// run runs the subcommand that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return done
	}
	hint := ""
	code := failed
	if e, ok := errors.AsType[*cli.Misuse](err); ok {
		hint, code = e.Hint, misused
	}
	if e, ok := errors.AsType[*config.Error](err); ok {
		hint = e.Hint
		if e.Misused {
			code = misused
		}
	}
	if e, ok := errors.AsType[*hinted](err); ok {
		hint = e.hint
	}
	p.say("error", err.Error())
	if hint != "" {
		p.say("hint", hint)
	}
	return code
}

// say writes one line to stderr.
func (p *program) say(what, text string) {
	fmt.Fprintf(p.stderr, "quintad: %s: %s\n", what, strings.ReplaceAll(text, "\n", "; "))
}

// describe prints the help of the subcommand that args name.
func (p *program) describe(args []string) error {
	cmd, rest := cli.Find(p.commands, args)
	if cmd == nil || len(rest) > 0 {
		return cli.Unknown("quintad", p.commands, args)
	}
	fmt.Fprint(p.stdout, p.help(cmd))
	return nil
}

// dispatch finds the subcommand, parses its flags and runs it.
func (p *program) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(p.stderr, p.overview())
		return &cli.Misuse{Text: "no command was given", Hint: "to try the server: quintad serve"}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return p.describe(args[1:])
		}
		fmt.Fprint(p.stdout, p.overview())
		return nil
	}
	cmd, rest := cli.Find(p.commands, args)
	if cmd == nil {
		return cli.Unknown("quintad", p.commands, args)
	}
	fs := new(flag.FlagSet)
	given := p.settings.Flags(fs)
	do, words, err := cmd.Parse(fs, rest)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(p.stdout, p.help(cmd))
		return err
	}
	if m, ok := errors.AsType[*cli.Misuse](err); ok && m.Hint == "" {
		m.Hint = "quintad " + cmd.Name + " --help"
	}
	if err != nil {
		return err
	}
	c, err := given.Load(p.environ)
	if err != nil {
		return err
	}
	return do(ctx, p, c, words)
}
