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
	"github.com/quinta-chat/quinta/internal/printable"
)

// Hooks are functions that a session adds to its runner. Each may be nil.
type Hooks[In any] struct {
	// Waits is told whether a Receive of the link may wait for new input.
	Waits func(bool)
	// Filter gets the events of each step and returns those that are handed
	// out.
	Filter func([]e2ee.Event) []e2ee.Event
	// CaughtUp reports whether the input shows that nothing more is waiting;
	// if it is nil, any input does.
	CaughtUp func(In) bool
	// Flush runs within each Flush, after it has caught up and before the
	// outbox is carried out. If it returns an error, that is reported as
	// trouble, and the outbox is sent anyway.
	Flush func(ctx context.Context) error
	// Beside are functions that run alongside Run, each until its context ends.
	Beside []func(ctx context.Context)
}

// A Runner is what a session needs around a Loop: one receiver at a time,
// events that are handed out in order, waits until a condition holds for the
// committed state, and the connection of a link that is [Connected].
type Runner struct {
	loop  *Loop
	link  *held
	st    Store
	hooks Hooks[any]

	running atomic.Bool   // Run, Flush or Push is running, or about to
	held    chan struct{} // full while someone receives

	mu      sync.Mutex
	live    bool          // Run is running
	changed chan struct{} // closed when something was committed, or when the receiver changed
	inbox   []e2ee.Event  // what Run or Flush hands out
	arrived chan struct{} // wakes the goroutine that hands out
	yield   func()        // ends the receiving of a wait, for Run
	trouble error         // the last one since something was begun, if any
	// troubled is when trouble came.
	troubled time.Time
}

// NewRunner makes a runner. It sets Events and Trouble of the parts itself;
// the caller must not.
func NewRunner[In, Req, Ans any](p Parts[In, Req, Ans], h Hooks[In]) *Runner {
	dial, _ := p.Link.(Connected)
	return newRunner(p.untyped(), h.untyped(), dial)
}

func newRunner(p Parts[any, any, any], h Hooks[any], dial Connected) *Runner {
	r := &Runner{hooks: h, held: make(chan struct{}, 1), changed: make(chan struct{}), arrived: make(chan struct{}, 1)}
	r.st = telling{p.Store, r.committed}
	r.link = &held{Link: p.Link, dial: dial, jitter: func(d time.Duration) (time.Duration, error) { return r.loop.jitter(d) }, dialing: make(chan struct{}, 1)}
	p.Store, p.Events, p.Trouble, p.Link = r.st, r.deliver, r.Troubled, r.link
	r.loop = newLoop(p)
	return r
}

// Store returns the store; a commit to it wakes waiting calls.
func (r *Runner) Store() Store { return r.st }

// Look runs fn on the committed state.
func (r *Runner) Look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return r.st.View(ctx, fn)
}

// Do runs one step of the machine and hands on what it reports.
func (r *Runner) Do(ctx context.Context, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return r.loop.Do(ctx, fn)
}

// Send hands a message to the machine, as [Loop.Send] does.
func (r *Runner) Send(ctx context.Context, m quinta.Message) error {
	return r.loop.Send(ctx, m)
}

// Wake tells the runner that something may be due.
func (r *Runner) Wake() { r.loop.Wake() }

// Connect has a link that is [Connected] connected until release is called,
// for calls that are not the machine's. The context that it returns ends with
// ctx and with the connection. For any other link, it returns ctx.
func (r *Runner) Connect(ctx context.Context) (live context.Context, release func(), err error) {
	if r.link.dial == nil {
		return ctx, func() {}, nil
	}
	return r.link.connect(ctx)
}

var errRunning = quinta.E(quinta.KindConflict, "running the session", "it is already running")

// Run sends and receives until ctx ends, and calls on with each event from one
// goroutine.
func (r *Runner) Run(ctx context.Context, on func(e2ee.Event)) error {
	end, err := r.begin(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer end()
	r.waits(true)
	r.runs(true)
	defer r.runs(false)
	defer r.handOut(on)()
	sub, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	for _, fn := range r.hooks.Beside {
		beside.Go(func() { fn(sub) })
	}
	err = r.loop.Run(sub)
	cancel()
	beside.Wait()
	return err
}

func (r *Runner) runs(live bool) {
	r.mu.Lock()
	r.live = live
	r.mu.Unlock()
	r.committed()
}

// AwaitRun returns when Run is running, or an error of KindConflict if it
// does not start in time.
func (r *Runner) AwaitRun(ctx context.Context, op string, within time.Duration) error {
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		r.mu.Lock()
		changed, live := r.changed, r.live
		r.mu.Unlock()
		if live {
			return nil
		}
		select {
		case <-changed:
		case <-end.C:
			return quinta.E(quinta.KindConflict, op, "the session must be running")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxCatchUp bounds how often Flush asks for more: a conversation in which
// people talk without end must not keep it forever.
const maxCatchUp = 100

// Flush receives until nothing more is waiting, and sends the outbox, as
// [Loop.Flush] does: if a request cannot get through, it returns the cause
// instead of waiting forever. It must not run together with Run.
func (r *Runner) Flush(ctx context.Context, on func(e2ee.Event)) error {
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
		if r.hooks.CaughtUp == nil || r.hooks.CaughtUp(in) {
			break
		}
	}
	if r.hooks.Flush != nil {
		if err := r.hooks.Flush(ctx); err != nil && ctx.Err() == nil {
			r.Give([]e2ee.Event{{Kind: e2ee.EventTrouble, Detail: printable.Line(err.Error())}})
		}
	}
	return r.explain(r.loop.Flush(ctx))
}

// Push carries out what is due without receiving, as [Loop.Push] does:
// requests that fail for some seconds stay due. If only is not nil it carries
// out the requests for which it holds. It must not run together with Run, and
// hands no events out: they wait for Run or Flush.
func (r *Runner) Push(ctx context.Context, only func(req any) bool) error {
	end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return r.explain(r.loop.Push(ctx, only))
}

func (r *Runner) waits(may bool) {
	if r.hooks.Waits != nil {
		r.hooks.Waits(may)
	}
}

// begin makes this the one that sends and receives. A caller that only waits
// for something yields.
func (r *Runner) begin(ctx context.Context) (end func(), err error) {
	if !r.running.CompareAndSwap(false, true) {
		return nil, errRunning
	}
	r.mu.Lock()
	yield := r.yield
	r.trouble = nil
	r.mu.Unlock()
	if yield != nil {
		yield()
	}
	select {
	case r.held <- struct{}{}:
	case <-ctx.Done():
		r.running.Store(false)
		return nil, ctx.Err()
	}
	release := r.link.keep()
	return func() {
		release()
		<-r.held
		r.running.Store(false)
		r.committed() // a wait may receive again
	}, nil
}

// explain adds to the end of a context what prevented progress until then.
func (r *Runner) explain(err error) error {
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

// Troubled tells the user about a failed attempt that will be repeated after wait.
func (r *Runner) Troubled(err error, wait time.Duration) {
	r.mu.Lock()
	r.trouble, r.troubled = err, time.Now()
	r.mu.Unlock()
	r.Give([]e2ee.Event{{Kind: e2ee.EventTrouble, Detail: fmt.Sprintf("%s; next try in %s", printable.Line(err.Error()), wait.Round(time.Millisecond))}})
}

// deliver gets the events of a step after they are durable.
func (r *Runner) deliver(events []e2ee.Event) {
	if r.hooks.Filter != nil {
		events = r.hooks.Filter(events)
	}
	r.Give(events)
}

// maxInbox bounds the events that wait for a Run or Flush, or for on to keep
// up. What is older is then in the timeline only.
const maxInbox = 100_000

// Give puts events into the inbox. They wait there until they are taken.
func (r *Runner) Give(events []e2ee.Event) {
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
func (r *Runner) handOut(on func(e2ee.Event)) (stop func()) {
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

// committed wakes those who wait for something to change.
func (r *Runner) committed() {
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
