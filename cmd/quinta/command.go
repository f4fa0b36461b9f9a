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

	"github.com/quinta-chat/quinta/e2ee"
)

// A command is one subcommand. Its file is named after it.
type command struct {
	name string
	// args is what stands behind the name in the usage line.
	args string
	// short is one line for the list of commands.
	short string
	// long is the text of its help and of its part of the manual, with an
	// example that works.
	long string
	// flags registers the command's own flags.
	flags func(fs *flag.FlagSet, o *options)
	run   func(ctx context.Context, a *app, args []string) error
	// subs completes the first argument.
	subs []string
}

// commands lists all, in the order of the help.
func commands() []*command {
	return []*command{
		loginCommand, registerCommand, logoutCommand, accountsCommand,
		roomsCommand, createCommand, inviteCommand, joinCommand, leaveCommand, kickCommand, membersCommand,
		sendCommand, tailCommand, readCommand, fetchCommand,
		devicesCommand, verifyCommand, keysCommand, doctorCommand, restoredCommand,
		certificatesCommand, renewCommand, revokeCommand, approveCommand, askCommand,
		demoCommand, completionCommand(), manCommand(), versionCommand,
	}
}

// options are the values of all flags; a command reads its own.
type options struct {
	home, account string
	json          bool
	timeout       time.Duration

	deviceName               string
	passwordFD, passphraseFD int
	keyFile                  string
	passphrase               bool
	name, topic              string
	direct, clear, legacy    bool
	file, reply, edit        string
	notice                   bool
	react                    bool
	limit                    int
	before, after            string
	count                    int
	out                      string
	wait                     bool
	force                    bool
	reset                    bool
	recoveryFD               int
	showCode, scanCode       bool
	reason                   string
}

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

// dispatch finds the command, reads its flags and runs it. Flags may stand
// before and behind the arguments.
func (a *app) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		a.help(a.err)
		return &misuse{text: "which command?", hint: "quinta help lists them"}
	}
	name := args[0]
	if name == "help" || name == "-h" || name == "--help" || name == "-help" {
		if len(args) > 1 {
			c := find(args[1])
			if c == nil {
				return unknown(args[1])
			}
			c.help(a.out)
			return nil
		}
		a.help(a.out)
		return nil
	}
	if name == "--version" {
		name = "version"
	}
	c := find(name)
	if c == nil {
		return unknown(name)
	}
	rest, err := a.parse(c, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		c.help(a.out)
		return nil
	}
	if err != nil {
		return &misuse{text: err.Error(), hint: "quinta help " + c.name}
	}
	err = c.run(ctx, a, rest)
	if m, ok := errors.AsType[*misuse](err); ok && m.hint == "" {
		m.hint = "quinta help " + c.name
	}
	return err
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// unknown names the nearest command.
func unknown(name string) error {
	best, near := "", 3
	for _, c := range commands() {
		if d := distance(name, c.name); d < near {
			best, near = c.name, d
		}
	}
	m := &misuse{text: fmt.Sprintf("there is no command %q", printable(name)), hint: "quinta help lists the commands"}
	if best != "" {
		m.hint = fmt.Sprintf("did you mean %q?", best)
	}
	return m
}

// distance is the number of letters to change, add or drop between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diag+cost)
		}
	}
	return row[len(b)]
}

// parse reads the flags of a command and returns the arguments.
func (a *app) parse(c *command, args []string) ([]string, error) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	a.opt = options{home: a.home(), passwordFD: -1, passphraseFD: -1}
	fs.StringVar(&a.opt.home, "home", a.opt.home, "")
	fs.StringVar(&a.opt.account, "account", a.getenv("QUINTA_ACCOUNT"), "")
	fs.BoolVar(&a.opt.json, "json", false, "")
	fs.DurationVar(&a.opt.timeout, "timeout", 2*time.Minute, "")
	fs.IntVar(&a.opt.passphraseFD, "passphrase-fd", -1, "")
	fs.StringVar(&a.opt.keyFile, "key-file", a.getenv("QUINTA_KEY_FILE"), "")
	if c.flags != nil {
		c.flags(fs, &a.opt)
	}
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		// "--" ends the flags: flag drops it, so look for it in what was read.
		read := args[:len(args)-fs.NArg()]
		if len(read) > 0 && read[len(read)-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// home is where accounts are kept.
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

const common = `Flags of every command:
  --account ID         which account, if there are several (QUINTA_ACCOUNT)
  --home DIR           where accounts are kept (QUINTA_HOME)
  --json               one JSON object a line; see doc/json.md
  --timeout DURATION   how long to wait for the server (default 2m)
  --key-file FILE      the key of the account's store (QUINTA_KEY_FILE)
  --passphrase-fd N    read the passphrase of the store from a file descriptor
`

func (c *command) help(w io.Writer) {
	fmt.Fprintf(w, "usage: quinta %s%s\n\n%s\n\n%s", c.name, prefixed(" ", c.args), strings.TrimSpace(c.long), common)
}

func prefixed(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}

func (a *app) help(w io.Writer) {
	fmt.Fprint(w, "usage: quinta COMMAND [ARGUMENT ...] [--flag ...]\n\nQuinta is an end-to-end encrypted seat on a network.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nquinta help COMMAND says more, with an example. quinta demo shows what it is about.\n")
}

// need checks how many arguments there are; most < 0 means any number.
func need(args []string, least, most int) error {
	if len(args) < least {
		return misused("an argument is missing")
	}
	if most >= 0 && len(args) > most {
		return misused("too many arguments")
	}
	return nil
}
