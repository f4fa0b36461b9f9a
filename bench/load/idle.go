package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// A counter gives 0, 1, 2 and so on to many sides.
type counter struct{ n atomic.Int64 }

func (c *counter) add() int { return int(c.n.Add(1)) - 1 }

// idleMemory measures what a fresh server takes that no one talks to.
func idleMemory(ctx context.Context, o *options, kind string, r *report) (err error) {
	if !o.wants("idle memory") {
		return nil
	}
	s, err := newStore(ctx, kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	p, err := machine.Start(ctx, o.program, s.args()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	// What a start takes in passing is given back after a while; what counts
	// is what a server holds that runs for weeks. Look for the worst.
	var most int64
	for range 10 {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := p.Memory()
		if err != nil {
			return err
		}
		most = max(most, m)
	}
	r.value(kind, valueMemory, float64(most)/(1<<20), "MB")
	r.value(kind, valueStart, float64(p.Startup.Milliseconds()), "ms")
	return nil
}

// wakeUps measures how long a message takes to a device that waits in a long
// poll: from the sender's request to the receiver's answer. Each of the 64
// pairs sends one and rests a while.
func wakeUps(ctx context.Context, o *options, w *world, r *report) error {
	const rest = 100 * time.Millisecond
	n := len(w.seats)
	// Each receives on a device of its own, from the last one downwards.
	apart := max(n/clients/devicesEach*devicesEach, 1)
	receiver := func(i int) *seat { return w.seats[n-1-i*apart] }
	var waiting []*seat
	for i := range clients {
		waiting = append(waiting, receiver(i))
	}
	if err := w.begin(ctx, waiting); err != nil {
		return err
	}
	l := newLedger()
	ss := w.senders(l, "wake")
	c0, err := w.costs(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, 2*o.window)
	defer cancel()
	took := make([][]time.Duration, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c := dial(w.srv.Addr)
			errs[i] = w.wakePair(ctx, i, c, receiver(i), ss[i], rest, &took[i])
			errs[i] = errors.Join(errs[i], c.close())
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	c1, err := w.costs(whole)
	if err != nil {
		return err
	}
	t := tally{took: all, wall: time.Since(began)}
	t.add(c0, c1)
	r.add(t.sample(opWake, w.store.kind, w.users))
	r.value(w.store.kind, valueWake50, ms(percentile(all, 50)), "ms")
	r.value(w.store.kind, valueWake99, ms(percentile(all, 99)), "ms")
	return nil
}

// wakePair lets one pair talk until ctx ends; c is the receiver's connection.
func (w *world) wakePair(ctx context.Context, i int, c *client, to *seat, s *sender, rest time.Duration, took *[]time.Duration) error {
	at := slices.Index(w.seats, to)
	for {
		path := "/_matrix/client/v3/sync?timeout=30000&since=" + to.since
		if err := c.start("GET", path, to.token, nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest/2 + rand.N(rest)):
		}
		began := time.Now()
		sent := make(chan error, 1)
		go func() { sent <- s.send(w.clients[i], i, at, 1) }()
		for {
			status, answer, err := c.finish(callTime)
			if err != nil || status != 200 {
				return fmt.Errorf("a long poll ended with %d: %w", status, err)
			}
			if to.since = member(answer, "next_batch"); to.since == "" {
				return errors.New("a long poll without next_batch")
			}
			if len(marks(answer, deviceMark)) > 0 {
				*took = append(*took, time.Since(began))
				break
			}
			// Something else had happened; wait on.
			if err := c.start("GET", "/_matrix/client/v3/sync?timeout=30000&since="+to.since, to.token, nil); err != nil {
				return err
			}
		}
		if err := <-sent; err != nil {
			return err
		}
	}
}

// idlePolls measures the memory of a server on which ten thousand devices wait
// in long polls.
func idlePolls(ctx context.Context, o *options, kind string, r *report) (err error) {
	n := 10_000
	if o.quick {
		n = 1000
	}
	if !o.wants("idle long polls") {
		return nil
	}
	logf("%s: %d idle long polls", kind, n)
	w, err := newWorld(ctx, o, kind, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	var seats []*seat
	for u := range n {
		seats = append(seats, w.seats[u*devicesEach])
	}
	if err := w.begin(ctx, seats); err != nil {
		return err
	}
	polls := make([]*client, n)
	for i, s := range seats {
		polls[i] = &client{addr: w.srv.Addr}
		if err := polls[i].start("GET", "/_matrix/client/v3/sync?timeout=300000&since="+s.since, s.token, nil); err != nil {
			return err
		}
	}
	defer func() {
		for _, p := range polls {
			err = errors.Join(err, p.close())
		}
	}()
	if err := w.waiting(ctx, n); err != nil {
		return err
	}
	m, err := w.srv.Memory()
	if err != nil {
		return err
	}
	r.value(kind, fmt.Sprintf("memory with %d idle long polls", n), float64(m)/(1<<20), "MB")
	c0, err := w.srv.CPU()
	if err != nil {
		return err
	}
	const look = 5 * time.Second
	select {
	case <-time.After(look):
	case <-ctx.Done():
		return ctx.Err()
	}
	c1, err := w.srv.CPU()
	if err != nil {
		return err
	}
	r.value(kind, fmt.Sprintf("CPU with %d idle long polls", n), 100*(c1-c0).Seconds()/look.Seconds(), "% of a core")
	return w.wakeSome(ctx, polls, kind, n, r)
}

// waiting returns once n requests wait.
func (w *world) waiting(ctx context.Context, n int) error {
	for began := time.Now(); ; {
		v, err := w.srv.Metric("quinta_waiters")
		if err != nil {
			return err
		}
		if int(v) >= n {
			return nil
		}
		if time.Since(began) > callTime {
			return fmt.Errorf("%v of %d long polls wait", v, n)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wakeSome wakes a hundred of the many, one after the other.
func (w *world) wakeSome(ctx context.Context, polls []*client, kind string, n int, r *report) error {
	s := w.senders(newLedger(), "some")[0]
	var took []time.Duration
	for k := range 100 {
		u := k * n / 100
		began := time.Now()
		if err := s.send(w.clients[0], 0, u*devicesEach, 1); err != nil {
			return err
		}
		status, answer, err := polls[u].finish(callTime)
		if err != nil || status != 200 || len(marks(answer, deviceMark)) != 1 {
			return fmt.Errorf("a long poll of many got %d with %d messages: %w", status, len(marks(answer, deviceMark)), err)
		}
		took = append(took, time.Since(began))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	slices.Sort(took)
	r.value(kind, fmt.Sprintf("wake-up of one of %d, p99", n), ms(percentile(took, 99)), "ms")
	return nil
}
