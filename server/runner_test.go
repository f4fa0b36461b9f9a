package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// A worker runs until it is told to end, or fails.
type worker struct {
	began, ended, closed chan struct{}
	fail                 func() error
}

func newWorker(fail func() error) *worker {
	return &worker{began: make(chan struct{}), ended: make(chan struct{}), closed: make(chan struct{}), fail: fail}
}

func (w *worker) Run(ctx context.Context) error {
	close(w.began)
	defer close(w.ended)
	if w.fail != nil {
		return w.fail()
	}
	<-ctx.Done()
	<-time.After(100 * time.Millisecond) // what it still has to do
	return ctx.Err()
}

func (w *worker) Close() error {
	close(w.closed)
	return nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestRunnersRunWhileTheServerServes: not before, not behind it, and the
// failure of one is no other's.
func TestRunnersRunWhileTheServerServes(t *testing.T) {
	t.Parallel()
	good, bad, panics, off := newWorker(nil), newWorker(func() error { return errors.New("broken") }), newWorker(func() error { panic("oops") }), newWorker(nil)
	s := serveStreams(t, func(c *server.Config) { c.Networks = append(c.Networks, "wire", "good", "bad", "panics") },
		network("good", good), network("bad", bad), network("panics", panics), network("off", off))
	<-good.began
	<-bad.ended
	<-panics.ended
	eventually(t, "both failures are logged", func() bool { return strings.Count(s.log.String(), "a runner failed") == 2 })
	for _, want := range []string{"network=bad err=broken", "network=panics panic=oops"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, s.log.String())
		}
	}
	if resp, err := http.Get(s.url); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("beside a runner that failed: got %v, %v", resp, err)
	}
	if isClosed(good.ended) || isClosed(off.began) {
		t.Error("a runner ended early, or one of a network that is off began")
	}
	s.stop()
	if err := <-s.stopped; err != nil {
		t.Error(err)
	}
	s.stopped <- nil
	if !isClosed(good.ended) || isClosed(good.closed) {
		t.Error("the runner has not ended at the end of Serve, or its front is closed already")
	}
}

// TestOpenStartsNothing: a core that is open and does not serve does nothing
// by itself. One that serves runs and sweeps.
func TestOpenStartsNothing(t *testing.T) {
	t.Parallel()
	var hours atomic.Int64
	cfg := config(t)
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(hours.Load()) * time.Hour) }
	w := newWorker(nil)
	c, err := server.Open(t.Context(), cfg, []server.Network{network("w", w)})
	if err != nil {
		t.Fatal(err)
	}
	loose := func() (n int) {
		t.Helper()
		if err := c.View(t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT COUNT(*) FROM blob_loose`).Scan(&n) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// Bytes that nothing refers to are removed by a sweep after an hour.
	if _, err := c.Blobs.Write(t.Context(), strings.NewReader("bytes"), 100); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	hours.Store(2)
	w = newWorker(nil)
	if c, err = server.Open(t.Context(), cfg, []server.Network{network("w", w)}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddAccount(t.Context(), "alice", "password"); err != nil { // takes some time
		t.Fatal(err)
	}
	if isClosed(w.began) || loose() != 1 {
		t.Error("a runner or a sweep began without Serve")
	}
	ctx, stop := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- c.Serve(ctx, l, http.NotFoundHandler(), nil) }()
	<-w.began
	eventually(t, "the loose bytes are removed", func() bool { return loose() == 0 })
	stop()
	if err := errors.Join(<-stopped, c.Close()); err != nil {
		t.Error(err)
	}
}
