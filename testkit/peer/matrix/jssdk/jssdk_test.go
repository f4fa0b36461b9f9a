package jssdk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/jssdk"
)

// TestStart checks the protocol against the real program, without a server.
func TestStart(t *testing.T) {
	t.Parallel()
	var pool jssdk.Pool
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	p := pool.Start(t)
	for _, c := range []struct {
		name, call string
		args       any
		limit      time.Duration
		want       string
	}{
		{"unknown call", "dance", nil, time.Minute, "no call dance"},
		{"no server", "login", driver.Account{Server: "http://127.0.0.1:1", Username: "a", Password: "b"}, time.Minute, "fetch failed"},
		{"not logged in", "start", map[string]int{}, time.Minute, "undefined"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *driver.Error
			if err := p.Call("alice", c.call, c.args, nil, c.limit); !errors.As(err, &e) || !strings.Contains(e.Message, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
