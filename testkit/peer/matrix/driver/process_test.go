package driver_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// shell starts a peer that is a shell script.
func shell(t *testing.T, script string) *driver.Process {
	t.Helper()
	return driver.Start(t, exec.Command("/bin/sh", "-c", script))
}

func TestCall(t *testing.T) {
	t.Parallel()
	const refusal = `{"id":1,"ok":false,"error":"no","errcode":"M_FORBIDDEN","status":403}`
	for _, c := range []struct {
		name, script, want string
	}{
		{"ends", "exit 0", "the peer ended"},
		{"ends after reading", "read line", "the peer ended"},
		{"not an answer", "read line; echo hello; read line", "not an answer"},
		{"refusal", "read line; echo '" + refusal + "'; read line", "403 M_FORBIDDEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := shell(t, c.script)
			err := p.Call("alice", "start", nil, nil, time.Minute)
			if err == nil {
				t.Fatalf("got no error, want %q", c.want)
			}
			if again := p.Call("alice", "start", nil, nil, time.Millisecond); again == nil {
				t.Error("got no error from a second call, want one")
			}
			if c.name == "refusal" {
				var e *driver.Error
				if !errors.As(err, &e) || e.Status != 403 || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			}
		})
	}
}

func TestCallResult(t *testing.T) {
	t.Parallel()
	p := shell(t, `read a; read b; echo '{"id":2,"ok":true,"result":{"n":2}}'; echo '{"id":1,"ok":true,"result":{"n":1}}'; read c`)
	type answer struct{ N int }
	first := make(chan error, 1)
	var a, b answer
	go func() { first <- p.Call("alice", "x", map[string]int{"a": 1}, &a, time.Minute) }()
	if err := p.Call("bob", "x", nil, &b, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if a.N+b.N != 3 || a.N == b.N {
		t.Errorf("got %d and %d, want each call its own answer", a.N, b.N)
	}
}
