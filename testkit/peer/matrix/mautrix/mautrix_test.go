package mautrix_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/mautrix"
)

// TestStart checks the protocol against the real program, without a server.
func TestStart(t *testing.T) {
	t.Parallel()
	p := mautrix.Start(t)
	for _, c := range []struct {
		name, call string
		args       any
		want       string
	}{
		{"unknown call", "dance", nil, "no call dance"},
		{"no server", "login", driver.Account{Server: "http://127.0.0.1:1", Username: "a", Password: "b"}, "refused"},
		{"wrong arguments", "login", []int{1}, "cannot unmarshal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *driver.Error
			if err := p.Call("alice", c.call, c.args, nil, time.Minute); !errors.As(err, &e) || !strings.Contains(e.Message, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
