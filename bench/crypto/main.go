// Crypto prints how fast the ratchets of Matrix are, beside libolm in the same
// run, what it takes to share a room key with many devices, beside the
// cryptography in it, how many allocations the ratchets take, and how fast
// certificates and messages of the certificate authority are. What has a ratio
// is measured by turns with the other, in processor time, the best of each, so
// that the machine's noise cancels. It ends with status 1 if a bar does not hold.
//
// It needs gcc and libolm's development files (Debian: libolm-dev).
//
//	go run ./bench/crypto
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/libolm"
)

func main() {
	out := flag.String("out", "", "the folder for the results; without it they are only printed")
	rounds := flag.Int("rounds", 7, "measure each operation this often and take the best")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var text bytes.Buffer
	busy := machine.LoadAverage()
	ok, err := run(ctx, io.MultiWriter(os.Stdout, &text), *rounds)
	if err == nil && *out != "" {
		err = machine.Keep(*out, "crypto", fmt.Sprintf("# Cryptography, %s\n\n%s, %s. Load average before the run: %.1f.\n\n```\n%s```\n",
			time.Now().UTC().Format(time.DateOnly), machine.Name(), runtime.Version(), busy, text.Bytes()))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crypto: error:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// run prints the table, and reports whether every bar holds.
func run(ctx context.Context, w io.Writer, rounds int) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "quinta-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	peer, err := libolm.Start(dir)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := peer.Close(); err == nil {
			err = cerr
		}
	}()
	t := &table{w: w, rounds: rounds, ok: true}
	if err := t.ratios(append(rows(peer), shares(ctx)...)); err != nil {
		return false, err
	}
	if err := t.workers(ctx); err != nil {
		return false, err
	}
	if err := t.counts(); err != nil {
		return false, err
	}
	fs, err := figures()
	if err != nil {
		return false, err
	}
	return t.ok, t.figures(fs)
}
