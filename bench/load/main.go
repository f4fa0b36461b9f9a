// Command load is the load generator of the homeserver. It builds quintad,
// runs it on SQLite and on PostgreSQL, drives it with 64 clients in a closed
// loop, checks what came back (no one-time key twice, every message once and
// in order, nothing acknowledged lost), and prints the figures beside the bars
// that they must hold.
//
//	go run ./bench/load               all of it, some ten minutes
//	go run ./bench/load -quick        a short look
//	go run ./bench/load -db sqlite -only 'claim|sync'
//
// What counts is CPU and syncs of an operation, and ratios within one run: the
// load generator shares the machine with the server. The CPU of the server is
// that of its process; on PostgreSQL that of the database's processes stands
// apart. Results go to -out as Markdown and JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// clients is how many clients drive the server at the same time.
const clients = 64

// options are what the command line says.
type options struct {
	quick  bool
	only   *regexp.Regexp
	dbs    []string
	scales []int
	// window is how long one operation is driven.
	window time.Duration
	// program is the quintad that is run.
	program string
}

// wants reports whether a part of the run was requested.
func (o *options) wants(name string) bool { return o.only == nil || o.only.MatchString(name) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	held, err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "load: error:", err)
		os.Exit(1)
	case !held:
		fmt.Fprintln(os.Stderr, "load: a bar does not hold or a check failed: see the table")
		os.Exit(3)
	}
}

// run does what the arguments say and reports whether all bars hold.
func run(ctx context.Context, args []string) (held bool, err error) {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	quick := fs.Bool("quick", false, "one size, short windows")
	db := fs.String("db", "both", "sqlite, postgres or both")
	only := fs.String("only", "", "a regular expression: only the parts whose names it matches")
	out := fs.String("out", "", "the folder for the results; without it they are only printed")
	window := fs.Duration("window", 0, "how long each operation is driven; 0 means 4s, or 1s with -quick")
	sizes := fs.String("users", "", "the numbers of users, such as 100,1000; empty means 100,1000,10000, or 1000 with -quick")
	program := fs.String("quintad", "", "a built quintad to run instead of building it")
	if err := fs.Parse(args); err != nil {
		return false, err
	}
	if fs.NArg() > 0 {
		return false, fmt.Errorf("what is %q? load takes flags only", fs.Arg(0))
	}
	o := &options{quick: *quick, window: *window, program: *program}
	if o.window == 0 {
		o.window = 4 * time.Second
		if o.quick {
			o.window = time.Second
		}
	}
	if *only != "" {
		if o.only, err = regexp.Compile(*only); err != nil {
			return false, err
		}
	}
	switch *db {
	case "both":
		o.dbs = []string{sqlite, postgresql}
	case sqlite, postgresql:
		o.dbs = []string{*db}
	default:
		return false, fmt.Errorf("-db is sqlite, postgres or both, not %q", *db)
	}
	if o.scales, err = scales(*sizes, o.quick); err != nil {
		return false, err
	}
	if o.program == "" {
		if o.program, err = machine.Quintad(); err != nil {
			return false, err
		}
	}
	r := newReport(o)
	for _, db := range o.dbs {
		if err = runAll(ctx, o, db, r); err != nil {
			err = fmt.Errorf("%s: %w", db, err)
			r.Cut = "The run was cut off: " + err.Error() + "."
			break
		}
	}
	r.judge()
	return r.held(), errors.Join(err, r.write(os.Stdout, *out))
}

// scales reads the numbers of users, growing.
func scales(s string, quick bool) ([]int, error) {
	if s == "" {
		if quick {
			return []int{middle}, nil
		}
		return []int{100, middle, 10_000}, nil
	}
	var out []int
	for f := range strings.SplitSeq(s, ",") {
		var n int
		if _, err := fmt.Sscanf(f, "%d", &n); err != nil || n < 100 || n > 100_000 {
			return nil, fmt.Errorf("-users: %q is not a number from 100 to 100000", f)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// middle is the number of users at which the bars are held.
const middle = 1000

// runAll runs every part on one database.
func runAll(ctx context.Context, o *options, db string, r *report) error {
	for _, part := range []struct {
		name string
		run  func(context.Context, *options, string, *report) error
	}{
		{"idle memory", idleMemory},
		{"storage", storage},
		{"requests", requests},
		{"kill -9", killed},
		{"large room", largeRoom},
		{"certificates", certificates},
		{"idle long polls", idlePolls},
	} {
		if err := part.run(ctx, o, db, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// logf tells who waits what is being done.
func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, "load: "+format+"\n", args...) }
