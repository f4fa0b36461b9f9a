package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/lease"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// A cluster is a store with a clock of its own, which several nodes have open.
type cluster struct {
	t     *testing.T
	clock atomic.Int64
	open  func() *db.DB
}

// each runs fn on both engines. An embedded store is open once, and its nodes
// share it.
func each(t *testing.T, fn func(c *cluster)) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := &cluster{t: t}
			c.clock.Store(1_700_000_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return time.UnixMilli(c.clock.Load()) }
			first := stores.Open(t, cfg, lease.Schema)
			c.open = func() *db.DB {
				if first.Embedded() {
					return first
				}
				return stores.Open(t, cfg, lease.Schema)
			}
			fn(c)
		})
	}
}

// take takes a lease until a number of milliseconds from the beginning.
func (c *cluster) take(d *db.DB, name, node string, until int64) (held bool) {
	c.t.Helper()
	if err := d.Update(c.t.Context(), func(tx *db.Tx) (err error) {
		held, err = lease.Take(tx, name, node, 1_700_000_000_000+until)
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	return held
}

func (c *cluster) holder(d *db.DB, name string) (node string) {
	c.t.Helper()
	if err := d.View(c.t.Context(), func(tx *db.Tx) (err error) { node, err = lease.Holder(tx, name); return err }); err != nil {
		c.t.Fatal(err)
	}
	return node
}

func TestTake(t *testing.T) {
	t.Parallel()
	each(t, func(c *cluster) {
		a, b := c.open(), c.open()
		for i, step := range []struct {
			at, until  int64
			name, node string
			held       bool
			holder     string
		}{
			{0, 100, "push", "a", true, "a"},
			{0, 100, "push", "b", false, "a"},
			{0, 100, "other", "b", true, "b"},
			{50, 150, "push", "a", true, "a"}, // renewed
			{149, 250, "push", "b", false, "a"},
			{150, 250, "push", "b", true, "b"}, // expired
			{200, 300, "push", "a", false, "b"},
			{400, 500, "push", "a", true, "a"},
		} {
			c.clock.Store(1_700_000_000_000 + step.at)
			d := a
			if step.node == "b" {
				d = b
			}
			if got := c.take(d, step.name, step.node, step.until); got != step.held {
				t.Errorf("step %d: got held %v, want %v", i, got, step.held)
			}
			if got := c.holder(d, step.name); got != step.holder {
				t.Errorf("step %d: got the holder %q, want %q", i, got, step.holder)
			}
		}
		for _, node := range []string{"b", "a"} { // not the holder, the holder
			if err := a.Update(t.Context(), func(tx *db.Tx) error { return lease.Release(tx, "push", node) }); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"b": "a", "a": ""}[node]
			if got := c.holder(b, "push"); got != want {
				t.Errorf("released by %s: got the holder %q, want %q", node, got, want)
			}
		}
	})
}

// TestOneOfMany: of many nodes that take a lease at once, one has it.
func TestOneOfMany(t *testing.T) {
	t.Parallel()
	each(t, func(c *cluster) {
		stored := []*db.DB{c.open(), c.open(), c.open()}
		for round := range 5 {
			var held atomic.Int32
			var wg sync.WaitGroup
			for node := range 12 {
				wg.Go(func() {
					if c.take(stored[node%3], "round "+strconv.Itoa(round), strconv.Itoa(node), 1000) {
						held.Add(1)
					}
				})
			}
			wg.Wait()
			if n := held.Load(); n != 1 {
				t.Errorf("round %d: %d nodes hold the lease, want one", round, n)
			}
		}
	})
}

// quick are terms of a test.
var quick = lease.Terms{Length: 500 * time.Millisecond, Every: 20 * time.Millisecond, Margin: 100 * time.Millisecond}

// hold lets a node hold a lease until ctx ends. working gets the name of the
// node when its work begins, and "" when it ends.
func (c *cluster) hold(ctx context.Context, d *db.DB, node string, working chan<- string) (ended chan error) {
	ended = make(chan error, 1)
	l := lease.Lease{DB: d, Name: "work", Node: node, Terms: quick, Log: slog.New(slog.DiscardHandler)}
	go func() {
		ended <- l.Hold(ctx, func(ctx context.Context) error {
			working <- node
			<-ctx.Done()
			working <- ""
			return ctx.Err()
		})
	}()
	return ended
}

// within returns the next value of working.
func within(t *testing.T, working <-chan string) string {
	t.Helper()
	select {
	case s := <-working:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing happened")
		return ""
	}
}

// realTime lets the clock of the store go with that of the machine.
func (c *cluster) realTime() {
	ctx, stop := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	c.t.Cleanup(func() { stop(); <-done })
	t := time.NewTicker(time.Millisecond)
	go func() {
		defer close(done)
		defer t.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				ms := now.Sub(last).Milliseconds()
				c.clock.Add(ms)
				last = last.Add(time.Duration(ms) * time.Millisecond)
			}
		}
	}()
}

// TestHold: one node works at a time; a second one takes over at once when the
// first one stops, and after the lease when it dies.
func TestHold(t *testing.T) {
	t.Parallel()
	each(t, func(c *cluster) {
		c.realTime()
		working := make(chan string, 10)
		actx, stopA := context.WithCancel(t.Context())
		a := c.hold(actx, c.open(), "a", working)
		if got := within(t, working); got != "a" {
			t.Fatalf("got %q at work, want a", got)
		}
		bctx, stopB := context.WithCancel(t.Context())
		b := c.hold(bctx, c.open(), "b", working)
		select {
		case got := <-working:
			t.Fatalf("got %q while a holds the lease and renews it", got)
		case <-time.After(2 * quick.Length): // longer than one lease
		}
		stopA()
		if err := <-a; err != nil {
			t.Error(err)
		}
		if got := within(t, working) + within(t, working); got != "b" {
			t.Errorf("got %q after a stopped, want b at work", got)
		}
		stopB()
		if err := <-b; err != nil {
			t.Error(err)
		}
		within(t, working)

		// A node that dies leaves its lease behind.
		if d := c.open(); !c.takeFor(d, "dead", quick.Length) {
			t.Fatal("the lease was not released")
		}
		died := time.Now()
		cctx, stopC := context.WithCancel(t.Context())
		third := c.hold(cctx, c.open(), "c", working)
		if got := within(t, working); got != "c" || time.Since(died) < quick.Length-100*time.Millisecond {
			t.Errorf("got %q at work %v after the death, want c after about %v", got, time.Since(died), quick.Length)
		}
		stopC()
		if err := <-third; err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) takeFor(d *db.DB, node string, length time.Duration) bool {
	return c.take(d, "work", node, c.clock.Load()-1_700_000_000_000+length.Milliseconds())
}

// TestHoldEndsWithTheStore: a node whose store does not answer stops its work
// before another node can have the lease.
func TestHoldEndsWithTheStore(t *testing.T) {
	t.Parallel()
	each(t, func(c *cluster) {
		c.realTime()
		d := c.open()
		working := make(chan string, 10)
		ctx, stop := context.WithCancel(t.Context())
		ended := c.hold(ctx, d, "a", working)
		if got := within(t, working); got != "a" {
			t.Fatalf("got %q at work, want a", got)
		}
		// A write that does not end keeps the renewals waiting.
		release := make(chan struct{})
		began := make(chan struct{})
		wrote := make(chan error, 1)
		go func() {
			wrote <- d.Update(t.Context(), func(*db.Tx) error { close(began); <-release; return nil })
		}()
		<-began
		stuck := time.Now()
		if got := within(t, working); got != "" || time.Since(stuck) > quick.Length {
			t.Errorf("got %q after %v, want the end of the work before that of the lease", got, time.Since(stuck))
		}
		close(release)
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if got := within(t, working); got != "a" {
			t.Errorf("got %q at work, want a again", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWorkThatEnds: its error is that of Hold, and the lease is free.
func TestWorkThatEnds(t *testing.T) {
	t.Parallel()
	each(t, func(c *cluster) {
		c.realTime()
		d := c.open()
		broken := errors.New("broken")
		l := lease.Lease{DB: d, Name: "work", Node: "a", Terms: quick, Log: slog.New(slog.DiscardHandler)}
		if err := l.Hold(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if got := c.holder(d, "work"); got != "" {
			t.Errorf("got the holder %q, want none", got)
		}
	})
}

// TestDefaultTerms: another node takes over at most 30 seconds after a death,
// and the holder has several tries to renew.
func TestDefaultTerms(t *testing.T) {
	t.Parallel()
	d := lease.Default
	if d.Length+d.Every > 25*time.Second || d.Margin < 5*time.Second || d.Length-d.Margin < 3*d.Every {
		t.Errorf("got %+v", d)
	}
}
