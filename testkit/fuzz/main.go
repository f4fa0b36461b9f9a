// Command fuzz runs every fuzz target of the module and fails if one of them
// finds something, or does not get through a number of executions: a target
// that stalls looks like one that finds nothing.
//
//	go run ./testkit/fuzz -each 60s            as make fuzz does
//	go run ./testkit/fuzz -each 10s -all 2m    at most two minutes in all
//	go run ./testkit/fuzz -run 'e2ee/olm'      the targets whose package or name match
//	go run ./testkit/fuzz -each 5s -keep 8     keeps up to eight new inputs of each target
//
// New inputs that cover more go to the cache of the go command, and with -keep
// to testdata/fuzz of the package, where every later run begins with them; an
// input that fails goes there in any case, and belongs into the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// An effort says how long a target runs and what it must get through.
type effort struct {
	each  time.Duration
	floor int    // executions in a minute
	side  int    // how many targets run at once
	keep  int    // how many new inputs of a target the repository keeps
	cache string // where inputs that cover more are kept; the go command's cache if empty
}

// again is the longest that a target runs once more which missed its floor:
// where each has a second only, another process can take it.
const again = 10 * time.Second

func main() {
	var e effort
	flag.DurationVar(&e.each, "each", time.Minute, "how long each target runs")
	all := flag.Duration("all", 0, "how long all targets run together, without building them; no bound if 0")
	flag.IntVar(&e.floor, "floor", 600, "how many executions a target must get through in a minute")
	flag.IntVar(&e.side, "side", 1, "how many targets run at once")
	flag.IntVar(&e.keep, "keep", 0, "how many new inputs of each target are kept in testdata/fuzz")
	run := flag.String("run", "", "run the targets whose package and name match this expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := fuzz(ctx, e, *all, *run); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz: error:", err)
		os.Exit(1)
	}
}

func fuzz(ctx context.Context, e effort, all time.Duration, match string) error {
	targets, err := find(ctx, match)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("no target matches")
	}
	e.side = max(e.side, 1)
	if all != 0 {
		e.each = min(e.each, all*time.Duration(e.side)/time.Duration(len(targets)))
	}
	bin, err := os.MkdirTemp("", "quinta-fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := build(ctx, bin, targets); err != nil {
		return err
	}
	if e.cache == "" {
		cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
		if err != nil {
			return fmt.Errorf("asking for the cache: %w", err)
		}
		e.cache = filepath.Join(strings.TrimSpace(string(cache)), "fuzz")
	}
	start := time.Now()
	failed := runAll(ctx, targets, bin, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Printf("%d targets of %s each, in %s\n", len(targets), e.each.Round(time.Millisecond), time.Since(start).Round(time.Second))
	if failed != nil {
		return fmt.Errorf("%d of %d targets failed: %s", len(failed), len(targets), strings.Join(failed, ", "))
	}
	return nil
}

// runAll runs the targets, some at a time, and returns the names of those that
// failed.
func runAll(ctx context.Context, targets []target, bin string, e effort) []string {
	var mu sync.Mutex
	var failed []string
	var wg sync.WaitGroup
	next := make(chan target)
	for range e.side {
		wg.Go(func() {
			for t := range next {
				line, ok := t.judge(ctx, bin, e)
				mu.Lock()
				fmt.Println(line)
				if !ok {
					failed = append(failed, t.name)
				}
				mu.Unlock()
			}
		})
	}
	for _, t := range targets {
		if ctx.Err() == nil {
			next <- t
		}
	}
	close(next)
	wg.Wait()
	return failed
}

// judge runs a target, once more and longer where it missed its floor, and
// returns what there is to say.
func (t target) judge(ctx context.Context, bin string, e effort) (string, bool) {
	began := time.Now()
	execs, err := t.run(ctx, bin, e)
	if err == nil && execs < e.want() && e.each < again {
		e.each = again
		execs, err = t.run(ctx, bin, e)
	}
	kept := 0
	if err == nil && e.keep > 0 {
		kept, err = t.keep(began, e)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("FAIL %s %s: %v", t.pkg, t.name, err), false
	case execs < e.want():
		return fmt.Sprintf("FAIL %s %s: got %d executions in %s, want at least %d: it does not fuzz", t.pkg, t.name, execs, e.each, e.want()), false
	case kept > 0:
		return fmt.Sprintf("ok   %s %s: %d executions, %d inputs kept", t.pkg, t.name, execs, kept), true
	}
	return fmt.Sprintf("ok   %s %s: %d executions", t.pkg, t.name, execs), true
}

// want returns how many executions a target must get through.
func (e effort) want() int { return int(float64(e.floor) * e.each.Minutes()) }
