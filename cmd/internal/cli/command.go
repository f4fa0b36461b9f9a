// Package cli is the frame of the command lines of quinta and quintad: a
// [Command] with flags of its own, [Find] for the command that was named,
// [Command.Parse] for flags that may come before, between and after the
// arguments, [Nearest] for misspelt names, and [Misuse] for errors that the
// person who typed the command can correct.
//
// What a command gets when it runs, what it prints and how it ends is up to
// each program.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// A Command is one subcommand of a program. R is the type of the function that
// runs it.
type Command[R any] struct {
	// Name is what a person types: one word, or two for a command of a group.
	Name string
	// Args follows the name in the usage line.
	Args string
	// Short describes the command in one line, for the list of commands.
	Short string
	// Long is the text of its help.
	Long string
	// Subs are the words that the first argument can be, for completion.
	Subs []string
	// Least and Most bound the number of arguments; a negative Most is no
	// bound.
	Least, Most int
	// Prepare defines the command's own flags on fs and returns the function
	// that runs the command and sees their values.
	Prepare func(fs *flag.FlagSet) R
}

// Plain is the Prepare of a command without flags.
func Plain[R any](run R) func(*flag.FlagSet) R {
	return func(*flag.FlagSet) R { return run }
}

// Find returns the command that args begin with, and the arguments after its
// name, or nil if there is no such command.
func Find[R any](commands []*Command[R], args []string) (*Command[R], []string) {
	for _, c := range commands {
		words := strings.Fields(c.Name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.Name {
			return c, args[len(words):]
		}
	}
	return nil, nil
}

// Unknown is the error for args that begin with no command's name. program is
// the name of the program.
func Unknown[R any](program string, commands []*Command[R], args []string) *Misuse {
	m := &Misuse{Text: fmt.Sprintf("there is no command %.60q", strings.Join(args[:min(len(args), 2)], " ")), Hint: fmt.Sprintf("%q lists the commands", program+" help")}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	for n := min(len(args), 2); n > 0; n-- {
		if best := Nearest(strings.Join(args[:n], " "), names); best != "" {
			m.Hint = fmt.Sprintf("did you mean %q?", best)
		}
	}
	return m
}

// Parse defines the command's flags on fs, where the program has defined its
// own, and parses args. It returns the function that runs the command, and the
// arguments, of which there are as many as the command takes. Flags may come
// before, between and after the arguments; "--" ends them. The error is
// flag.ErrHelp if help was requested, and a *Misuse otherwise.
func (c *Command[R]) Parse(fs *flag.FlagSet, args []string) (run R, words []string, err error) {
	fs.Init(c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	run = c.Prepare(fs)
	if words, err = parse(fs, args); err != nil {
		return run, nil, err
	}
	return run, words, CountArgs(words, c.Least, c.Most)
}

func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, badFlag(fs, err)
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return words, nil
		}
		// Package flag drops the "--", so look for it in what it has read.
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(words, rest...), nil
		}
		words = append(words, rest[0])
		args = rest[1:]
	}
}

// badFlag says what is wrong with a flag, and which one a misspelt one may be.
func badFlag(fs *flag.FlagSet, err error) *Misuse {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return &Misuse{Text: err.Error()}
	}
	m := &Misuse{Text: fmt.Sprintf("unknown flag --%.60s", name)}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if best := Nearest(name, names); best != "" {
		m.Hint = "did you mean --" + best + "?"
	}
	return m
}

// CountArgs refuses fewer than least or more than most arguments; a negative
// most is no bound.
func CountArgs(args []string, least, most int) error {
	switch {
	case len(args) < least:
		return &Misuse{Text: "an argument is missing"}
	case most >= 0 && len(args) > most:
		return &Misuse{Text: fmt.Sprintf("too many arguments: %d were given", len(args))}
	}
	return nil
}

// Flags returns the names of the command's own flags, in alphabetical order.
func (c *Command[R]) Flags() []string {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	c.Prepare(fs)
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}
