// Client measures the sizes of both programs, and the client program against a
// real server, both as processes: the first sync of a large account, a message
// from a cold start, and the memory of a program that waits for messages.
//
//	go run ./bench/client               some four minutes
//	go run ./bench/client -quick        a small account, and a short wait
//
// Processor time is that of the client's process; what the server used stands
// beside it. It ends with status 3 if a bar does not hold.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// A size is how large the account is and how long things are looked at.
type size struct {
	rooms, events int // events of all rooms
	members       int // of a room
	sends         int
	// idle is how long a waiting program is left alone: the collector runs by
	// itself every two minutes.
	idle time.Duration
}

var (
	whole = size{rooms: 500, events: 20_000, members: 20, sends: 15, idle: 130 * time.Second}
	small = size{rooms: 20, events: 200, members: 5, sends: 3, idle: 2 * time.Second}
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	held, err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "client: error:", err)
		os.Exit(1)
	case !held:
		fmt.Fprintln(os.Stderr, "client: a bar does not hold: see the table")
		os.Exit(3)
	}
}

// run does what the arguments say and reports whether all bars hold.
func run(ctx context.Context, args []string) (held bool, err error) {
	fs := flag.NewFlagSet("client", flag.ContinueOnError)
	quick := fs.Bool("quick", false, "a small account, and a short wait")
	out := fs.String("out", "", "the folder for the results; without it they are only printed")
	idle := fs.Duration("idle", 0, "how long the waiting program is left alone; 0 means 130s, or 2s with -quick")
	quinta := fs.String("quinta", "", "a built quinta to run instead of building it")
	if err := fs.Parse(args); err != nil {
		return false, err
	}
	if fs.NArg() > 0 {
		return false, fmt.Errorf("what is %q? client takes flags only", fs.Arg(0))
	}
	sz := whole
	if *quick {
		sz = small
	}
	if *idle > 0 {
		sz.idle = *idle
	}
	server, err := machine.Quintad()
	if err != nil {
		return false, err
	}
	if *quinta == "" {
		if *quinta, err = program.Own("quinta", "-trimpath"); err != nil {
			return false, err
		}
	}
	r := newReport(sz)
	if err := sizes(r); err != nil {
		return false, err
	}
	if err := measure(ctx, sz, server, *quinta, r); err != nil {
		return false, err
	}
	return r.held(), r.write(os.Stdout, *out)
}

// measure seeds a server and runs the programs against it.
func measure(ctx context.Context, sz size, server, quinta string, r *report) (err error) {
	h, err := newHouse(ctx, sz, server, quinta)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	for _, part := range []func(context.Context, *report) error{h.firstSync, h.send, h.wait} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// logf tells who waits what is being done.
func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, "client: "+format+"\n", args...) }
