package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// A single does its work on one node.
type single struct {
	bare
	core    *server.Core
	working chan string
	node    string
}

func (s *single) Run(ctx context.Context) error {
	return s.core.OnOneNode(ctx, "test", func(ctx context.Context) error {
		s.working <- s.node
		<-ctx.Done()
		s.working <- ""
		return nil
	})
}

// TestOnOneNode: of two nodes one works, and the other one when it stops.
func TestOnOneNode(t *testing.T) {
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			working := make(chan string, 10)
			node := func(name string) *quintatest.Server {
				n := server.Network{Name: "single", New: func(c *server.Core) (server.Front, error) { return &single{core: c, working: working, node: name}, nil }}
				return quintatest.StartNetworks(t, []server.Network{n}, quintatest.Database(cfg))
			}
			next := func() string {
				t.Helper()
				select {
				case s := <-working:
					return s
				case <-time.After(time.Minute):
					t.Fatal("nothing happened")
					return ""
				}
			}
			first := node("first")
			if got := next(); got != "first" {
				t.Fatalf("got %q at work", got)
			}
			if engine == "sqlite" {
				return // an embedded store has one node
			}
			node("second")
			select {
			case got := <-working:
				t.Errorf("got %q while the first one works", got)
			case <-time.After(100 * time.Millisecond):
			}
			first.Stop()
			if got := next(); got != "" {
				t.Errorf("got %q, want the end of the first one's work", got)
			}
			if got := next(); got != "second" {
				t.Errorf("got %q at work, want the second one", got)
			}
		})
	}
}
