package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/all/servers"
)

// TestUsage looks that every command says what it is for, with an example
// that has its name, and that its flags are described.
func TestUsage(t *testing.T) {
	t.Parallel()
	p := newTestProgram(t)
	for _, c := range p.commands {
		help := p.help(c)
		if !strings.Contains(help, "\n    quintad "+c.Name) {
			t.Errorf("%s has no example", c.Name)
		}
		if c.Short == "" || strings.ToUpper(c.Short[:1]) == c.Short[:1] || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the line %q is no short lower-case sentence", c.Name, c.Short)
		}
		if _, stdout, _ := runProgram(t, append([]string{"help"}, strings.Fields(c.Name)...)...); stdout != help {
			t.Errorf("quintad help %s: got %q, want the help of the command", c.Name, stdout)
		}
		for line := range strings.Lines(help) {
			if len(line) > 81 && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s: a line of the help has %d characters: %q", c.Name, len(line), line)
			}
		}
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		c.Prepare(fs)
		fs.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(help, "\n    --"+f.Name) {
				t.Errorf("%s: the usage says nothing of --%s", c.Name, f.Name)
			}
		})
		if !strings.Contains(p.overview(), c.Name) {
			t.Errorf("the overview says nothing of %s", c.Name)
		}
	}
}

// newTestProgram makes the program with all networks and no environment.
func newTestProgram(t *testing.T) *program {
	t.Helper()
	p, err := newProgram(servers.All())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runProgram runs the program with args and returns the code and what it wrote.
func runProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	p := newTestProgram(t)
	p.stdout, p.stderr = &out, &errs
	code = p.run(t.Context(), args)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"version"}, done},
		{[]string{"help"}, done},
		{[]string{"user", "add", "--help"}, done},
		{[]string{"help", "user", "add"}, done},
		{[]string{"help", "user"}, misused},
		{[]string{"help", "user", "add", "alice"}, misused},
		{nil, misused},
		{[]string{"user"}, misused},
		{[]string{"serve", "--nothing"}, misused},
		{[]string{"serve", "--listen", "x"}, misused},
		{[]string{"version", "word"}, misused},
		{[]string{"serve", "--rate-limits"}, misused},
		{[]string{"user", "add", "alice"}, misused}, // no terminal
		{[]string{"config", "check", "--config", "/nonexistent"}, failed},
		{[]string{"user", "list", "--data", "/nonexistent"}, failed},
		{[]string{"restore", "/nonexistent", "--data", filepath.Join(t.TempDir(), "x")}, failed},
	} {
		code, stdout, stderr := runProgram(t, tc.args...)
		if code != tc.code {
			t.Errorf("%q: got code %d, want %d: %s", tc.args, code, tc.code, stderr)
		}
		if code != done && (stdout != "" || !strings.Contains(stderr, "quintad: error: ")) {
			t.Errorf("%q: got stdout %q and stderr %q, want one error on stderr", tc.args, stdout, stderr)
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	a, err := makeUp()
	if err != nil {
		t.Fatal(err)
	}
	b, err := makeUp()
	if err != nil {
		t.Fatal(err)
	}
	if a == b || len(a) != 23 || strings.Trim(a, "abcdefghijklmnopqrstuvwxyz234567-") != "" {
		t.Errorf("got %q and %q", a, b)
	}
	for text, want := range map[string]string{
		"secret\n": "secret", "secret": "secret", "secret\r\nmore": "secret", " with spaces \n": " with spaces ", "\n": "", "": "",
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		w.Close()
		got, err := readDescriptor(&program{stdin: r}, 0)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
		r.Close()
	}
}

func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	broken := errors.New("broken")
	if err := writeWhole(path, func(w io.Writer) error {
		io.WriteString(w, "half")
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("got %v, want what was wrong", err)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 0 {
		t.Errorf("got the files %v, %v: want none", es, err)
	}
	if err := writeWhole(path, func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(path, func(io.Writer) error { t.Error("written over"); return nil }); err == nil {
		t.Error("an existing file was no error")
	}
	if got, err := os.ReadFile(path); string(got) != "whole" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// A file that comes meanwhile is not replaced.
	other := filepath.Join(dir, "other")
	if err := writeWhole(other, func(io.Writer) error { return os.WriteFile(other, []byte("theirs"), 0o600) }); err == nil {
		t.Error("a file that came meanwhile was replaced")
	}
	if got, _ := os.ReadFile(other); string(got) != "theirs" {
		t.Errorf("got %q, want what came meanwhile", got)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 2 {
		t.Errorf("got the files %v, %v: want two", es, err)
	}
}

func TestFolderLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFolder(dir); !errors.Is(err, errInUse) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("got %v, want that it is in use by a process", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	l, err = lockFolder(dir)
	if err != nil {
		t.Errorf("got %v after the release", err)
	}
	l.release()
}

// TestDeepDataFolder: the path of a socket is short, that of a folder is not.
func TestDeepDataFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 60))
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs syncWriter
	p := newTestProgram(t)
	p.stdout, p.stderr = &out, &errs
	ended := make(chan int, 1)
	out.ready = make(chan struct{})
	go func() { ended <- p.run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}) }()
	select {
	case <-out.ready:
	case code := <-ended:
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	code, stdout, stderr := runProgram(t, "user", "add", "alice", "--generate", "--data", dir)
	if code != done || !strings.HasPrefix(stdout, "@alice:localhost\n") {
		t.Errorf("got %d, %q, %q", code, stdout, stderr)
	}
	st, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got the socket %v, %v: want it for its user alone", st, err)
	}
	cancel()
	if code := <-ended; code != done {
		t.Errorf("ended with %d: %s", code, errs.String())
	}
}

func TestWelcomePage(t *testing.T) {
	t.Parallel()
	w := welcome{Name: "<b>", URL: "http://127.0.0.1:1", Registration: "closed", Join: []string{"with <client> at ADDRESS"}, Command: "quintad user add NAME --data /secret/place"}
	get := func(method, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		return rec
	}
	r := get(http.MethodGet, "/")
	for _, want := range []string{"&lt;b&gt;", "with &lt;client&gt; at ADDRESS", "quintad user add NAME"} {
		if !strings.Contains(r.Body.String(), want) {
			t.Errorf("the page does not say %q:\n%s", want, r.Body)
		}
	}
	if strings.Contains(r.Body.String(), "/secret/place") {
		t.Error("the page tells strangers a path of the machine")
	}
	if csp := r.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("got the policy %q", csp)
	}
	if got := get(http.MethodPost, "/").Code; got != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", got)
	}
	if got := get(http.MethodGet, "/x").Code; got != http.StatusNotFound {
		t.Errorf("another path: got %d", got)
	}
	w.Registration, w.Public = "open", "https://chat.example.org"
	if s := get(http.MethodGet, "/").Body.String(); !strings.Contains(s, "open to everyone") || !strings.Contains(s, w.Public) || strings.Contains(s, w.URL) {
		t.Errorf("got the page %s", s)
	}
}
