package require_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// A verdict records how Peer ended a test, and ends the goroutine as the real
// testing.T does.
type verdict struct {
	testing.TB
	fatal, skip string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatal(args ...any) {
	v.fatal = args[0].(string)
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skip = args[0].(string)
	runtime.Goexit()
}

// judge runs f against a verdict to its end.
func judge(f func(testing.TB)) (v verdict, ended bool) {
	done := make(chan struct{})
	ended = true
	go func() {
		defer close(done)
		f(&v)
		ended = false
	}()
	<-done
	return v, ended
}

func TestPeer(t *testing.T) {
	gone := errors.New("no such program")
	for _, c := range []struct {
		name, env  string
		err        error
		fatal, end bool
	}{
		{"present", "", nil, false, false},
		{"present and required", "1", nil, false, false},
		{"missing", "", gone, false, true},
		{"missing and required", "1", gone, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(require.Env, c.env)
			v, ended := judge(func(tb testing.TB) { require.Peer(tb, "postgresql", c.err) })
			if ended != c.end {
				t.Fatalf("got ended %v, want %v", ended, c.end)
			}
			if got := v.fatal != ""; got != c.fatal {
				t.Errorf("got fatal %q, want fatal %v", v.fatal, c.fatal)
			}
			if got := v.skip != ""; got != (c.end && !c.fatal) {
				t.Errorf("got skip %q, want skip %v", v.skip, c.end && !c.fatal)
			}
			if line := v.fatal + v.skip; c.end && (!strings.Contains(line, "postgresql") || !strings.Contains(line, "no such program") || strings.Contains(line, "\n")) {
				t.Errorf("got %q, want one line with the peer and the reason", line)
			}
		})
	}
}

func TestProgram(t *testing.T) {
	t.Setenv(require.Env, "1")
	if got := require.Program(t, "go"); !strings.HasSuffix(got, "go") {
		t.Errorf("got %q, want the path of go", got)
	}
	v, ended := judge(func(tb testing.TB) { require.Program(tb, "no-program-of-this-name") })
	if !ended || v.fatal == "" {
		t.Errorf("got ended %v, fatal %q: want a failure for a missing program", ended, v.fatal)
	}
}
