// Command fuzz runs every fuzz target of the module and fails if one of them
// finds something, or does not get through a number of executions: a target
// that stalls looks like one that finds nothing.
//
//	go run ./testkit/fuzz -each 60s            as make fuzz does
//	go run ./testkit/fuzz -each 10s -all 2m    at most two minutes in all
//	go run ./testkit/fuzz -run 'e2ee/olm'      the targets whose package or name match
//
// New inputs that cover more go to the cache of the go command; an input that
// fails goes to testdata/fuzz of its package, and belongs into the repository.
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
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A target is one fuzz function.
type target struct{ pkg, dir, name string }

// An effort says how long a target runs and what it must get through.
type effort struct {
	each  time.Duration
	floor int // executions in a minute
}

func main() {
	each := flag.Duration("each", time.Minute, "how long each target runs")
	all := flag.Duration("all", 0, "how long all targets run together, without building them; no bound if 0")
	floor := flag.Int("floor", 600, "how many executions a target must get through in a minute")
	run := flag.String("run", "", "run the targets whose package and name match this expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := fuzz(ctx, effort{*each, *floor}, *all, *run); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz: error:", err)
		os.Exit(1)
	}
}

func fuzz(ctx context.Context, e effort, all time.Duration, match string) error {
	wanted, err := regexp.Compile(match)
	if err != nil {
		return err
	}
	targets, err := find(ctx, wanted)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("no target matches")
	}
	if all != 0 {
		e.each = min(e.each, all/time.Duration(len(targets)))
	}
	bin, err := os.MkdirTemp("", "quinta-fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	var failed []string
	for _, t := range targets {
		execs, err := t.run(ctx, bin, e)
		want := int(float64(e.floor) * e.each.Minutes())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed = append(failed, t.name)
			fmt.Printf("FAIL %s %s: %v\n", t.pkg, t.name, err)
		case execs < want:
			failed = append(failed, t.name)
			fmt.Printf("FAIL %s %s: got %d executions in %s, want at least %d: it does not fuzz\n", t.pkg, t.name, execs, e.each, want)
		default:
			fmt.Printf("ok   %s %s: %d executions\n", t.pkg, t.name, execs)
		}
	}
	fmt.Printf("%d targets of %s each\n", len(targets), e.each.Round(time.Millisecond))
	if failed != nil {
		return fmt.Errorf("%d of %d targets failed: %s", len(failed), len(targets), strings.Join(failed, ", "))
	}
	return nil
}

var declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// find returns the targets of the module, in the order of their packages.
func find(ctx context.Context, wanted *regexp.Regexp) ([]target, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.ImportPath}}\t{{.Dir}}", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w", err)
	}
	var all []target
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			for _, m := range declared.FindAllSubmatch(src, -1) {
				if t := (target{pkg, dir, string(m[1])}); wanted.MatchString(pkg + "." + t.name) {
					all = append(all, t)
				}
			}
		}
	}
	return all, nil
}

// run builds the target's package once and runs the target. It returns how
// many executions there were.
func (t target) run(ctx context.Context, bin string, e effort) (int, error) {
	path := filepath.Join(bin, strings.ReplaceAll(t.pkg, "/", "_")+".test")
	if _, err := os.Stat(path); err != nil {
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-fuzz=.", "-o", path, t.pkg).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("building it: %w\n%s", err, out)
		}
	}
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return 0, err
	}
	// What stalls is cut off by its context: minimising has a bound of its own,
	// so that a minute is not spent on the first input.
	ctx, cancel := context.WithTimeout(ctx, e.each+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+e.each.String(), "-test.fuzzminimizetime=10x",
		"-test.fuzzcachedir="+filepath.Join(strings.TrimSpace(string(cache)), "fuzz", t.pkg))
	cmd.Dir = t.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	return executions(string(out))
}

var progress = regexp.MustCompile(`execs: (\d+) \(`)

// executions reads the last count that a fuzzing test printed.
func executions(out string) (int, error) {
	all := progress.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return 0, fmt.Errorf("it printed no count:\n%s", out)
	}
	return strconv.Atoi(all[len(all)-1][1])
}
