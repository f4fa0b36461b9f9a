package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

// run is what a command does with its arguments.
type run = func(ctx context.Context, a *app, args []string) error

// A command is one subcommand. Its file is named after it.
type command = cli.Command[run]

// commands lists all, in the order of the help.
func commands() []*command {
	return []*command{
		loginCommand, registerCommand, logoutCommand, accountsCommand, policyCommand,
		roomsCommand, createCommand, inviteCommand, joinCommand, leaveCommand, kickCommand, encryptCommand, membersCommand,
		sendCommand, tailCommand, readCommand, fetchCommand, otrCommand,
		devicesCommand, verifyCommand, keysCommand, doctorCommand, restoredCommand,
		certificatesCommand, renewCommand, revokeCommand, approveCommand, askCommand, timerCommand,
		demoCommand, completionCommand(), manCommand(), versionCommand,
	}
}

// options are the values of the flags that every command has.
type options struct {
	home, account string
	json          bool
	timeout       time.Duration
	passphraseFD  int
	keyFile       string
}

// flags defines the flags that every command has.
func (a *app) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.opt.home, "home", a.home(), "")
	fs.StringVar(&a.opt.account, "account", a.getenv("QUINTA_ACCOUNT"), "")
	fs.BoolVar(&a.opt.json, "json", false, "")
	fs.DurationVar(&a.opt.timeout, "timeout", 2*time.Minute, "")
	fs.IntVar(&a.opt.passphraseFD, "passphrase-fd", -1, "")
	fs.StringVar(&a.opt.keyFile, "key-file", a.getenv("QUINTA_KEY_FILE"), "")
}

const common = `Flags of every command:
  --account ID         the account to use, if there are several (QUINTA_ACCOUNT)
  --home DIR           the folder where accounts are stored (QUINTA_HOME)
  --json               print one JSON object per line; see doc/json.md
  --timeout DURATION   how long to wait for the server (default 2m)
  --key-file FILE      the key file of the account's store (QUINTA_KEY_FILE)
  --passphrase-fd N    read the passphrase of the store from a file descriptor
`

// An app is one run of the program, with its surroundings handed in.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	env      e2ee.Env
	opt      options
}

// main runs the program and returns its exit code.
func (a *app) main(ctx context.Context, args []string) int {
	err := a.dispatch(ctx, args)
	if err == nil {
		return exitDone
	}
	code, hint := verdict(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitFailed
	}
	fmt.Fprintf(a.err, "quinta: error: %s\n", printable(err.Error()))
	if hint != "" {
		fmt.Fprintf(a.err, "quinta: hint: %s\n", hint)
	}
	if a.opt.json {
		a.emit(struct {
			head
			Code  int    `json:"code"`
			Error string `json:"error"`
			Hint  string `json:"hint,omitempty"`
		}{newHead("error"), code, err.Error(), hint})
	}
	return code
}

// dispatch finds the command, reads its flags and runs it.
func (a *app) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		a.help(a.err)
		return &cli.Misuse{Text: "no command was given", Hint: `"quinta help" lists the commands`}
	}
	switch args[0] {
	case "help", "-h", "--help", "-help":
		if len(args) == 1 {
			a.help(a.out)
			return nil
		}
		args = []string{args[1], "--help"}
	case "--version":
		args = append([]string{"version"}, args[1:]...)
	}
	c, rest := cli.Find(commands(), args)
	if c == nil {
		return cli.Unknown("quinta", commands(), args[:1])
	}
	fs := new(flag.FlagSet)
	a.flags(fs)
	do, words, err := c.Parse(fs, rest)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(a.out, helpOf(c))
		return nil
	}
	if err == nil {
		err = do(ctx, a, words)
	}
	if m, ok := errors.AsType[*cli.Misuse](err); ok && m.Hint == "" {
		m.Hint = "quinta help " + c.Name
	}
	return err
}

// home is the folder where accounts are stored.
func (a *app) home() string {
	if h := a.getenv("QUINTA_HOME"); h != "" {
		return h
	}
	if h := a.getenv("XDG_DATA_HOME"); h != "" {
		return filepath.Join(h, "quinta")
	}
	if h := a.getenv("HOME"); h != "" {
		return filepath.Join(h, ".local", "share", "quinta")
	}
	h, err := os.UserConfigDir()
	if err != nil {
		return "quinta"
	}
	return filepath.Join(h, "quinta")
}

// helpOf is the text of "quinta help COMMAND".
func helpOf(c *command) string {
	return fmt.Sprintf("usage: quinta %s\n\n%s\n\n%s", usageOf(c), strings.TrimSpace(c.Long), common)
}

// usageOf is the name of a command with its arguments.
func usageOf(c *command) string { return strings.TrimSpace(c.Name + " " + c.Args) }

// help prints the text of "quinta help".
func (a *app) help(w io.Writer) {
	fmt.Fprint(w, "usage: quinta COMMAND [ARGUMENT ...] [--flag ...]\n\nQuinta sends and reads messages on end-to-end encrypted networks.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", c.Name, c.Short)
	}
	fmt.Fprint(w, "\n\"quinta help COMMAND\" describes a command, with an example.\n")
}
