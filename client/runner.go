package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Runner is what most sessions need around a Loop: one who receives at a
// time, events that are handed out in order, and waits for something to
// become true of what is committed.
type Runner[In, Req, Ans any] struct {
	loop *Loop[In, Req, Ans]
	st   Store

	// Waits, if not nil, is told whether a Receive of the link may wait for
	// something to come.
	Waits func(bool)
	// Filter, if not nil, gets the events of each step and returns those that
	// are handed out.
	Filter func([]e2ee.Event) []e2ee.Event

	running atomic.Bool   // Run or Flush is going on, or about to
	held    chan struct{} // full while somebody receives

	mu      sync.Mutex
	changed chan struct{} // closed when something was committed
	inbox   []e2ee.Event  // what Run or Flush hands out
	arrived chan struct{} // wakes who hands out
	yield   func()        // ends the receiving of a wait, for Run
	trouble error         // the last one that was repeated
}

// NewRunner takes a loop over that was not started: its Store, Events and
// Trouble become the runner's.
func NewRunner[In, Req, Ans any](l *Loop[In, Req, Ans]) *Runner[In, Req, Ans] {
	r := &Runner[In, Req, Ans]{loop: l, held: make(chan struct{}, 1), changed: make(chan struct{}), arrived: make(chan struct{}, 1)}
	r.st = telling{l.Store, r.committed}
	l.Store, l.Events, l.Trouble = r.st, r.deliver, r.Troubled
	l.Start()
	return r
}

// Store returns the store; what is committed to it wakes those who wait.
func (r *Runner[In, Req, Ans]) Store() Store { return r.st }

// Look runs fn over what is committed.
func (r *Runner[In, Req, Ans]) Look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return r.st.View(ctx, fn)
}

// Do runs one step of the machine and hands on what it reports.
func (r *Runner[In, Req, Ans]) Do(ctx context.Context, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return r.loop.Do(ctx, fn)
}

var errRunning = quinta.E(quinta.KindConflict, "running the session", "it is running already")

// Run sends and receives until ctx ends, and calls on with each event from one
// goroutine. Each of beside runs at the same time until its context ends.
func (r *Runner[In, Req, Ans]) Run(ctx context.Context, on func(e2ee.Event), beside ...func(context.Context)) error {
	end, err := r.begin(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer end()
	r.waits(true)
	defer r.handOut(on)()
	sub, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	for _, fn := range beside {
		others.Go(func() { fn(sub) })
	}
	err = r.loop.Run(sub)
	cancel()
	others.Wait()
	return err
}

// maxCatchUp bounds how often Flush asks for more: a conversation in which
// people talk without end must not keep it for ever.
const maxCatchUp = 100

// Flush receives until last says that nothing more is there, and carries the
// outbox out. It must not run together with Run.
func (r *Runner[In, Req, Ans]) Flush(ctx context.Context, on func(e2ee.Event), last func(In) bool) error {
	end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	r.waits(false)
	defer r.handOut(on)()
	for range maxCatchUp {
		in, err := r.loop.Receive(ctx)
		if err != nil {
			return r.explain(err)
		}
		if last(in) {
			break
		}
	}
	return r.explain(r.loop.Flush(ctx))
}

func (r *Runner[In, Req, Ans]) waits(may bool) {
	if r.Waits != nil {
		r.Waits(may)
	}
}

// begin makes this the one that receives. Who only waits for something gives
// way.
func (r *Runner[In, Req, Ans]) begin(ctx context.Context) (end func(), err error) {
	if !r.running.CompareAndSwap(false, true) {
		return nil, errRunning
	}
	r.mu.Lock()
	yield := r.yield
	r.mu.Unlock()
	if yield != nil {
		yield()
	}
	select {
	case r.held <- struct{}{}:
		return func() { <-r.held; r.running.Store(false) }, nil
	case <-ctx.Done():
		r.running.Store(false)
		return nil, ctx.Err()
	}
}

// explain adds to the end of a context what stood in the way until then.
func (r *Runner[In, Req, Ans]) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, r.trouble)
}

// Troubled tells the user of a try that failed and is made again after wait.
func (r *Runner[In, Req, Ans]) Troubled(err error, wait time.Duration) {
	r.mu.Lock()
	r.trouble = err
	r.mu.Unlock()
	r.Give([]e2ee.Event{{Kind: e2ee.EventTrouble, Detail: fmt.Sprintf("%s; next try in %s", err, wait.Round(time.Millisecond))}})
}

// deliver gets the events of a step after they are durable.
func (r *Runner[In, Req, Ans]) deliver(events []e2ee.Event) {
	if r.Filter != nil {
		events = r.Filter(events)
	}
	r.Give(events)
}

// maxInbox bounds the events that wait for a Run or Flush, or for on to keep
// up. What is older then stands in the timeline only.
const maxInbox = 100_000

// Give puts events into the inbox. They wait there also while nobody takes
// from it.
func (r *Runner[In, Req, Ans]) Give(events []e2ee.Event) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inbox = append(r.inbox, events...)
	if over := len(r.inbox) - maxInbox; over > 0 {
		r.inbox = slices.Delete(r.inbox, 0, over)
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

// handOut calls on with each event that comes, until stop is called; stop
// hands out the rest and returns when on has returned.
func (r *Runner[In, Req, Ans]) handOut(on func(e2ee.Event)) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	take := func() []e2ee.Event {
		r.mu.Lock()
		defer r.mu.Unlock()
		batch := r.inbox
		r.inbox = nil
		return batch
	}
	go func() {
		defer close(done)
		for over := false; ; {
			batch := take()
			for _, e := range batch {
				if on != nil {
					on(e)
				}
			}
			if len(batch) > 0 {
				continue
			}
			if over {
				return
			}
			select {
			case <-r.arrived:
			case <-end:
				over = true
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}

// committed wakes who waits for something to change.
func (r *Runner[In, Req, Ans]) committed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// A telling store tells of each commit.
type telling struct {
	Store
	committed func()
}

// Update implements Store.
func (t telling) Update(ctx context.Context, fn func(e2ee.Tx) error) error {
	err := t.Store.Update(ctx, fn)
	if err == nil {
		t.committed()
	}
	return err
}

// waitFor bounds the waits for something that the server is to tell.
const waitFor = time.Minute

// errSlow says that a wait was in vain.
var errSlow = errors.New("the server did not answer in time")

// Wait returns when cond holds of what is committed. If nobody receives it
// asks the server itself. what names the wait in its error.
func (r *Runner[In, Req, Ans]) Wait(ctx context.Context, what string, cond func(tx e2ee.Tx) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, waitFor, &quinta.Error{Kind: quinta.KindUnavailable, Op: what, Err: errSlow})
	defer cancel()
	r.loop.Wake()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		done := false
		if err := r.Look(ctx, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err }); err != nil || done {
			return orCause(ctx, err)
		}
		if done, tried, err := r.receiveFor(ctx, cond); done || err != nil {
			return orCause(ctx, err)
		} else if tried {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// receiveFor carries out what is due and receives once, if nobody else does:
// cond may come to hold by either. It gives way to Run and Flush.
func (r *Runner[In, Req, Ans]) receiveFor(ctx context.Context, cond func(tx e2ee.Tx) (bool, error)) (done, tried bool, err error) {
	select {
	case r.held <- struct{}{}:
		defer func() { <-r.held }()
	default:
		return false, false, nil
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.yield = cancel
	r.mu.Unlock()
	defer func() { r.mu.Lock(); r.yield = nil; r.mu.Unlock() }()
	if r.running.Load() {
		return false, false, nil
	}
	// What is due goes out first: its answers may be what is waited for.
	err = r.loop.Flush(short)
	if err == nil {
		err = r.Look(ctx, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err })
	}
	if err == nil && !done {
		r.waits(true)
		_, err = r.loop.Receive(short)
	}
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		err = nil // gave way
	}
	return done, true, err
}

// orCause returns why ctx ended instead of that it did.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
