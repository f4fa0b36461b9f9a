package client

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Parts are what a loop, or a runner around it, is made of.
type Parts[In, Req, Ans any] struct {
	Machine e2ee.Machine[In, Req, Ans]
	Link    Link[In, Req, Ans]
	Store   Store
	Env     e2ee.Env
	// Commit, if not nil, runs inside the transaction that brought events,
	// such as to keep a timeline. If it returns an error, the whole step is
	// undone.
	Commit func(tx e2ee.Tx, events []e2ee.Event) error
	// Events, if not nil, gets events after they are durable, in order and
	// from one goroutine at a time.
	Events func([]e2ee.Event)
	// Trouble, if not nil, is called for each failed attempt that will be
	// repeated. Two goroutines may call it at the same time.
	Trouble func(err error, wait time.Duration)
}

// A Loop runs one device until its context ends. A request that fails is tried
// again for as long as it is due; see [Laned] for what leaves meanwhile.
type Loop struct {
	parts  Parts[any, any, any]
	wake   chan struct{}
	events chan struct{} // a lock for the steps and their events
	lanes  lanes         // of the one that sends: Run, Flush or Push
}

// NewLoop makes a loop.
func NewLoop[In, Req, Ans any](p Parts[In, Req, Ans]) *Loop { return newLoop(p.untyped()) }

func newLoop(p Parts[any, any, any]) *Loop {
	return &Loop{parts: p, wake: make(chan struct{}, 1), events: make(chan struct{}, 1)}
}

// The bounds of the wait between two tries.
const (
	minBackOff = 250 * time.Millisecond
	maxBackOff = time.Minute
	// retryAtMost bounds what a server may ask a client to wait.
	retryAtMost = 15 * time.Minute
)

// A RetryError is an error of a Link that knows when to try again.
type RetryError struct {
	After time.Duration
	Err   error
}

// Error returns the cause.
func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// Wake tells the loop that something may be due.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Send hands a message to the machine. When Send returns, the message is in
// the outbox and survives a crash; Run carries it out.
func (l *Loop) Send(ctx context.Context, m quinta.Message) error {
	if err := l.parts.Store.Update(ctx, func(tx e2ee.Tx) error { return l.parts.Machine.Send(tx, m) }); err != nil {
		return err
	}
	l.Wake()
	return nil
}

// Do runs fn on the machine's state and hands on what it reports. It is for
// everything that is not a message: verification, trust, key import.
func (l *Loop) Do(ctx context.Context, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return l.step(ctx, fn)
}

// Run sends and receives until ctx ends or the link reports that there is no
// point in continuing. It returns nil only if ctx ended.
func (l *Loop) Run(ctx context.Context) error {
	return l.run(ctx, nil)
}

// run is Run. If enough is not nil it first sends what can be sent, and then
// asks whether to receive at all.
func (l *Loop) run(ctx context.Context, enough func() (bool, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := l.send(ctx, func() { close(sent) }); err != nil {
			cancel(err)
		}
	}()
	stop, err := false, error(nil)
	if enough != nil {
		select {
		case <-sent:
		case <-done:
		}
		stop, err = enough()
	}
	if err == nil && !stop {
		err = l.receive(ctx)
	}
	if err != nil {
		cancel(err)
	} else {
		cancel(nil)
	}
	<-done
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// Flush carries out what is due, without receiving, and returns when nothing is
// due any more. If nothing gets through for a minute, it returns an error of
// KindUnavailable with the cause; the remaining requests stay due. It is for
// programs that send and end, and must not run together with Run or Push.
func (l *Loop) Flush(ctx context.Context) error {
	var err error
	cerr := l.carry(ctx, nil, func(at standing) (bool, time.Time) {
		if time.Since(at.passed) >= flushFor {
			err = &quinta.Error{Kind: quinta.KindUnavailable, Op: "carrying out due requests", Err: l.cause()}
			return true, time.Time{}
		}
		return at.left == 0, at.passed.Add(flushFor)
	})
	return cmp.Or(cerr, err)
}

// cause returns what kept the requests that are left from getting through.
func (l *Loop) cause() error {
	if len(l.lanes.failing) == 0 {
		return errSlow // no answer at all
	}
	return l.lanes.cause
}

// Push is Flush for callers that must not block: what fails for some seconds
// stays due, which is not an error. If only is not nil it carries out the
// requests for which it holds.
func (l *Loop) Push(ctx context.Context, only func(req any) bool) error {
	return l.carry(ctx, only, func(at standing) (bool, time.Time) { return at.busy == 0 && at.stuck(pushFor), time.Time{} })
}

// send carries out what is due, whenever something is, until ctx ends.
// stuck, if not nil, is called when nothing gets through, or nothing is left,
// for the first time.
func (l *Loop) send(ctx context.Context, stuck func()) error {
	return l.unlessOver(ctx, l.carry(ctx, nil, func(at standing) (bool, time.Time) {
		if stuck != nil && at.stuck(pushFor) {
			stuck()
			stuck = nil
		}
		if stuck != nil {
			return false, at.passed.Add(pushFor)
		}
		return false, time.Time{}
	}))
}

// due asks the machine what is due.
func (l *Loop) due(ctx context.Context) ([]any, error) {
	var due []any
	if err := l.parts.Store.Update(ctx, func(tx e2ee.Tx) (err error) { due, err = l.parts.Machine.Outgoing(tx); return err }); err != nil {
		return nil, fmt.Errorf("asking what is due: %w", err)
	}
	return due, nil
}

// receive takes in what comes.
func (l *Loop) receive(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := l.Receive(ctx); err != nil {
			return l.unlessOver(ctx, err)
		}
	}
	return nil
}

// Receive waits for what comes next, takes it in once, and returns it. It is
// for programs that catch up and end; it must not run together with Run.
func (l *Loop) Receive(ctx context.Context) (any, error) {
	var in any
	if err := l.retry(ctx, func() (err error) { in, err = l.parts.Link.Receive(ctx, l.parts.Store); return err }); err != nil {
		return in, err
	}
	return in, l.step(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return l.parts.Machine.Receive(tx, in) })
}

func (l *Loop) unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// step runs one step of the machine, commits it with what it means for the
// user, and then tells the user. Steps and their events keep their order.
func (l *Loop) step(ctx context.Context, fn func(e2ee.Tx) ([]e2ee.Event, error)) error {
	l.events <- struct{}{}
	defer func() { <-l.events }()
	var events []e2ee.Event
	err := l.parts.Store.Update(ctx, func(tx e2ee.Tx) (err error) {
		if events, err = fn(tx); err != nil {
			return err
		}
		if l.parts.Commit == nil || len(events) == 0 {
			return nil
		}
		return l.parts.Commit(tx, events)
	})
	if err != nil {
		return err
	}
	if l.parts.Events != nil && len(events) > 0 {
		l.parts.Events(events)
	}
	l.Wake()
	return nil
}

// retry tries until there is an answer, with growing waits between the tries.
func (l *Loop) retry(ctx context.Context, try func() error) error {
	var wait time.Duration
	for {
		err := try()
		if err == nil {
			return nil
		}
		pause, perr := l.pause(ctx, err, &wait)
		if perr != nil {
			return perr
		}
		if l.parts.Trouble != nil {
			l.parts.Trouble(err, pause)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pause returns how long to wait before the next try; wait grows with each.
// It returns the cause if that is no reason to try again.
func (l *Loop) pause(ctx context.Context, cause error, wait *time.Duration) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if k := quinta.KindOf(cause); k != quinta.KindUnavailable && k != quinta.KindLimited {
		return 0, cause
	}
	*wait = grown(*wait)
	if re, ok := errors.AsType[*RetryError](cause); ok && re.After > 0 {
		return min(re.After, retryAtMost), nil
	}
	return l.jitter(*wait)
}

// grown returns the wait after the one that was.
func grown(wait time.Duration) time.Duration { return min(max(minBackOff, 2*wait), maxBackOff) }

// sleep returns after a time, or with the error of ctx when that ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// jitter returns a random time between half of d and d, so that clients that
// lost one server do not come back in step.
func (l *Loop) jitter(d time.Duration) (time.Duration, error) {
	var b [4]byte
	if _, err := io.ReadFull(l.parts.Env.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	return d/2 + time.Duration(uint64(d/2)*uint64(binary.BigEndian.Uint32(b[:]))>>32), nil
}
