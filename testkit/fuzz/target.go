package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is one fuzz function.
type target struct{ module, pkg, dir, name string }

// maxKept is the greatest length in bytes of an input that is kept.
const maxKept = 4096

// find returns the targets of the module whose package and name match, in the
// order of their packages.
func find(ctx context.Context, match string) ([]target, error) {
	wanted, err := regexp.Compile(match)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Module.Path}}\t{{.ImportPath}}\t{{.Dir}}", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w", err)
	}
	var all []target
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		names, err := declared(f[2])
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if wanted.MatchString(f[1] + "." + name) {
				all = append(all, target{f[0], f[1], f[2], name})
			}
		}
	}
	return all, nil
}

// declared returns the names of the fuzz functions of a folder.
func declared(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names, nil
}

// build builds the test programs of the targets' packages into a folder each,
// many packages with one call. Coverage is counted in the packages of the
// module only: the libraries are those that other tests have built already,
// and inputs that take another way inside them are not what is looked for.
func build(ctx context.Context, bin string, targets []target) error {
	pkgs := make([]string, 0, len(targets))
	for _, t := range targets {
		pkgs = append(pkgs, t.pkg)
	}
	pkgs = slices.Compact(pkgs)
	for len(pkgs) > 0 {
		// One call writes one folder, so that the packages must differ in name.
		var now, later []string
		for _, p := range pkgs {
			if slices.ContainsFunc(now, func(q string) bool { return path.Base(q) == path.Base(p) }) {
				later = append(later, p)
			} else {
				now = append(now, p)
			}
		}
		dir, err := os.MkdirTemp(bin, "")
		if err != nil {
			return err
		}
		args := append([]string{"test", "-c", "-gcflags=" + targets[0].module + "/...=-d=libfuzzer", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}, now...)
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", strings.Join(now, " "), err, out)
		}
		for _, p := range now {
			if err := os.Rename(filepath.Join(dir, path.Base(p)+".test"), program(bin, p)); err != nil {
				return err
			}
		}
		pkgs = later
	}
	return nil
}

// program is the test program of a package.
func program(bin, pkg string) string {
	return filepath.Join(bin, strings.ReplaceAll(pkg, "/", "_")+".test")
}

// found is where the inputs that a target found are kept.
func (t target) found(e effort) string { return filepath.Join(e.cache, t.pkg) }

// run runs the target and returns how many executions there were.
func (t target) run(ctx context.Context, bin string, e effort) (int, error) {
	// What stalls is cut off by its context: minimising has a bound of its own,
	// so that a minute is not spent on the first input.
	ctx, cancel := context.WithTimeout(ctx, e.each+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(bin, t.pkg), "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+e.each.String(), "-test.fuzzminimizetime=10x",
		"-test.fuzzcachedir="+t.found(e), "-test.parallel="+strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/max(1, e.side))))
	cmd.Dir = t.dir
	out, err := cmd.CombinedOutput()
	if err != nil && !onlyLate(string(out)) {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	if strings.Contains(string(out), "not built with coverage instrumentation") {
		return 0, errors.New("it was built without counting what an input covers")
	}
	return executions(string(out))
}

// late is how the testing package ends a target now and then whose time runs
// out while it minimises an input that covers more: it fails, and has found
// nothing.
var late = regexp.MustCompile(`(?m)^--- FAIL: Fuzz\w+ \([0-9.]+s\)\n    context deadline exceeded\n(FAIL\n)?\z`)

// onlyLate reports whether nothing failed but that the time ran out.
func onlyLate(out string) bool {
	return late.MatchString(out) && !strings.Contains(out, "Failing input")
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

// keep copies inputs that a run put into the cache to the repository: those
// that were found last, as they build on those before them. It returns how
// many it copied.
func (t target) keep(began time.Time, e effort) (int, error) {
	entries, err := os.ReadDir(filepath.Join(t.found(e), t.name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var found []fs.FileInfo
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return 0, err
		}
		if info.Size() <= maxKept && !info.ModTime().Before(began) {
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	found = found[:min(len(found), e.keep)]
	dir := filepath.Join(t.dir, "testdata", "fuzz", t.name)
	for _, info := range found {
		raw, err := os.ReadFile(filepath.Join(t.found(e), t.name, info.Name()))
		if err != nil {
			return 0, err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, info.Name()), raw, 0o600); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}
