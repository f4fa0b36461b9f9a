// Crypto prints how fast the ratchets of Matrix are, beside libolm in the same
// run, and how many allocations they take. Every figure is a ratio of two
// measurements of processor time taken by turns, the best of each, so that the
// machine's noise cancels. It ends with status 1 if a bar does not hold.
//
// It needs gcc and libolm's development files (Debian: libolm-dev).
//
//	go run ./bench/crypto
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/quinta-chat/quinta/testkit/peer/libolm"
)

func main() {
	rounds := flag.Int("rounds", 7, "measure each operation this often and take the best")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ok, err := run(os.Stdout, *rounds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crypto: error:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// run prints the table, and reports whether every bar holds.
func run(w io.Writer, rounds int) (ok bool, err error) {
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
	ok = true
	fmt.Fprintf(w, "%-4s %-36s %12s %12s %7s %7s %8s\n", "id", "what", "ours ns", "other ns", "ratio", "bar", "stretch")
	for _, r := range rows(peer) {
		ours, other, err := r.measure(rounds)
		if err != nil {
			return false, fmt.Errorf("%s %s: %w", r.id, r.what, err)
		}
		ratio := ours / other
		fmt.Fprintf(w, "%-4s %-36s %12.0f %12.0f %7.3f %7.2f %8s%s\n",
			r.id, r.what, ours, other, ratio, r.bar, r.stretchText(), verdict(ratio <= r.bar))
		ok = ok && ratio <= r.bar
	}
	fmt.Fprintf(w, "\n%-4s %-36s %12s %7s\n", "id", "what", "allocations", "bar")
	bars, err := budget()
	if err != nil {
		return false, err
	}
	for _, a := range allocations() {
		bar, known := bars[a.name]
		if !known {
			return false, fmt.Errorf("bench/budget.txt: no line for %s", a.name)
		}
		got, err := a.measure()
		if err != nil {
			return false, fmt.Errorf("%s %s: %w", a.id, a.name, err)
		}
		fmt.Fprintf(w, "%-4s %-36s %12.0f %7.0f%s\n", a.id, a.name, got, bar, verdict(got <= bar))
		ok = ok && got <= bar
	}
	return ok, nil
}

func verdict(holds bool) string {
	if holds {
		return ""
	}
	return "  over the bar"
}
