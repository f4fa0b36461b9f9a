// Quinta is the client program: it sends and reads messages on end-to-end
// encrypted networks, for people at a terminal and for scripts.
//
// Results go to standard output, everything else to standard error. Every
// command has --json; doc/json.md describes what it prints. The exit codes are
// in exit.go.
package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv,
		env:    e2ee.Env{Now: time.Now, Rand: rand.Reader},
	}
	code := a.main(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
