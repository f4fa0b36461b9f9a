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
		own = append(own, c.name)
	}
	settings, err := config.New(networks, append(own, "help"))
	return &program{networks: networks, settings: settings, commands: slices.Concat(storeCommands, networkCommands(networks), otherCommands)}, err
}

// A command is one subcommand.
type command struct {
	// name is what stands on the command line; a command of a group has two
	// words. line says in one line what it does.
	name, line string
	// usage is the whole text for --help, before the list of settings.
	usage string
	// args is how many arguments it takes besides flags.
	args int
	// prepare defines the flags of the command itself on fs and returns the
	// function that runs the command, which sees their values.
	prepare func(fs *flag.FlagSet) func(ctx context.Context, p *program, c *config.Config, args []string) error
}

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
	// What the server writes is for its user alone.
	syscall.Umask(0o077)
	p, err := newProgram(servers.All())
	if err != nil {
		panic("quintad: internal error: " + err.Error())
	}
	p.stdin, p.stdout, p.stderr, p.environ = os.Stdin, os.Stdout, os.Stderr, os.Environ()
	os.Exit(p.run(ctx, os.Args[1:]))
}

// A misuse is an error in how the program was called.
type misuse struct{ text, hint string }

func (e *misuse) Error() string { return e.text }

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
	if e, ok := errors.AsType[*misuse](err); ok {
		hint, code = e.hint, misused
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

// dispatch finds the subcommand, parses its flags and runs it.
func (p *program) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(p.stderr, p.overview())
		return &misuse{"no command was given", "to try the server: quintad serve"}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.stdout, p.overview())
		return nil
	}
	cmd, rest := p.find(args)
	if cmd == nil {
		return &misuse{fmt.Sprintf("there is no command %.60q", strings.Join(args[:min(len(args), 2)], " ")), "\"quintad help\" lists the commands"}
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	given := p.settings.Flags(fs)
	run := cmd.prepare(fs)
	words, err := parse(fs, rest)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(p.stdout, p.help(cmd))
		return err
	}
	usage := "quintad " + cmd.name + " --help"
	if err != nil {
		return p.unknownFlag(err, usage)
	}
	if len(words) != cmd.args {
		return &misuse{fmt.Sprintf("%s takes %d arguments, and %d were given", cmd.name, cmd.args, len(words)), usage}
	}
	c, err := given.Load(p.environ)
	if err != nil {
		return err
	}
	return run(ctx, p, c, words)
}

// unknownFlag says which flag a misspelt one may be.
func (p *program) unknownFlag(err error, usage string) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return &misuse{err.Error(), usage}
	}
	if n := p.settings.Nearest(name); n != "" {
		usage = "did you mean --" + n + "?"
	}
	return &misuse{fmt.Sprintf("unknown flag --%.60s", name), usage}
}

// find returns the command that args begin with, and the arguments after it.
func (p *program) find(args []string) (*command, []string) {
	for _, c := range p.commands {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.name {
			return c, args[len(words):]
		}
	}
	return nil, nil
}

// parse parses flags that may stand before, between and behind the arguments,
// which it returns. "--" ends the flags.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(words, rest...), nil
		}
		words = append(words, rest[0])
		args = rest[1:]
	}
}
