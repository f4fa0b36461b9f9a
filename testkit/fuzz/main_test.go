package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFind holds that the list of targets is what the test files declare.
func TestFind(t *testing.T) {
	t.Chdir("../..")
	targets, err := find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, x := range targets {
		has[x.name] = true
	}
	if len(targets) < 60 || !has["FuzzReceive"] || !has["FuzzParse"] || has["FuzzStalls"] {
		t.Errorf("got %d targets: %v", len(targets), targets)
	}
}

func TestExecutions(t *testing.T) {
	t.Parallel()
	out := "fuzz: elapsed: 0s, gathering baseline coverage: 0/3 completed\nfuzz: elapsed: 3s, execs: 12 (4/sec), new interesting: 0 (total: 3)\n" +
		"fuzz: elapsed: 4s, execs: 345 (86/sec), new interesting: 1 (total: 4)\nPASS\n"
	if n, err := executions(out); n != 345 || err != nil {
		t.Errorf("got %d, %v, want 345", n, err)
	}
	if n, err := executions("PASS\n"); err == nil {
		t.Errorf("got %d of a target that printed nothing", n)
	}
}

// TestOnlyLate: a target that failed because its time ran out has found nothing.
func TestOnlyLate(t *testing.T) {
	t.Parallel()
	const head = "fuzz: elapsed: 6s, execs: 12938 (0/sec), new interesting: 66 (total: 69)\n--- FAIL: FuzzReceive (6.07s)\n"
	for out, want := range map[string]bool{
		head + "    context deadline exceeded\nFAIL\n":                                  true,
		head + "    context deadline exceeded\n    a_test.go:3: found\nFAIL\n":          false,
		head + "    --- FAIL: FuzzReceive (0.00s)\n        a_test.go:3: found\nFAIL\n":  false,
		"Failing input written to x\n" + head + "    context deadline exceeded\nFAIL\n": false,
		"fuzz: elapsed: 3s, execs: 12 (4/sec), new interesting: 0 (total: 3)\nPASS\n":   false,
	} {
		if got := onlyLate(out); got != want {
			t.Errorf("got %v of %q", got, out)
		}
	}
}

// TestStallsAndFindings runs three targets of a module made for this test: one
// that works, one that stalls and one that finds something.
func TestStallsAndFindings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/m\n\ngo 1.26\n",
		"m_test.go": `package m

import (
	"testing"
	"time"
)

func FuzzWorks(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for _, c := range b {
			if c > 'x' {
				n++
			}
		}
		if n > 3 {
			t.Log("many")
		}
	})
}
func FuzzStalls(f *testing.F) { f.Add([]byte("x")); f.Fuzz(func(t *testing.T, b []byte) { time.Sleep(400 * time.Millisecond) }) }
func FuzzFinds(f *testing.F) { f.Add([]byte("x")); f.Fuzz(func(t *testing.T, b []byte) { if len(b) != 1 { t.Fatal("found") } }) }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	e := effort{each: 3 * time.Second, floor: 600}
	if err := fuzz(t.Context(), e, 0, "FuzzWorks"); err != nil {
		t.Errorf("one that works: got %v", err)
	}
	// All together have as long as is given, however many there are.
	if err := fuzz(t.Context(), e, 100*time.Millisecond, "FuzzStalls"); err == nil {
		t.Error("one that stalls, for a moment: got no error")
	}
	for _, name := range []string{"FuzzStalls", "FuzzFinds"} {
		if err := fuzz(t.Context(), e, 0, name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want it named", name, err)
		}
	}
	if err := fuzz(t.Context(), e, 0, "NoSuchTarget"); err == nil {
		t.Error("got no error where nothing matches")
	}
}

// TestKeep runs a target that takes many ways and keeps what was found: not
// more than was requested, and in the form that later runs read.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/kept\n\ngo 1.26\n",
		"m_test.go": `package m

import "testing"

func FuzzWays(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, c := range b {
			switch {
			case c < 10:
				t.Log("a")
			case c > 200:
				t.Log("b")
			case i > 20:
				t.Log("c")
			case c == 'y':
				t.Log("d")
			}
		}
	})
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for range 2 {
		if err := fuzz(t.Context(), effort{each: 3 * time.Second, floor: 60, keep: 2, cache: filepath.Join(dir, "cache")}, 0, "FuzzWays"); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", "FuzzWays", "*"))
	if err != nil || len(kept) == 0 || len(kept) > 4 {
		t.Fatalf("got %v, %v, want up to two inputs of each run", kept, err)
	}
	raw, err := os.ReadFile(kept[0])
	if err != nil || !strings.HasPrefix(string(raw), "go test fuzz v1\n") {
		t.Errorf("got %q, %v", raw, err)
	}
}
