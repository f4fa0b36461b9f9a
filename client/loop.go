package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Loop runs one device until its context ends. A request that fails is tried
// again for as long as it is due; see [Laned] for what goes on meanwhile.
type Loop[In, Req, Ans any] struct {
	Machine e2ee.Machine[In, Req, Ans]
	Link    Link[In, Req, Ans]
	Store   Store
	Env     e2ee.Env
	// Commit, if not nil, runs inside the transaction that brought events,
	// such as to keep a timeline. An error of it undoes the whole step.
	Commit func(tx e2ee.Tx, events []e2ee.Event) error
	// Events, if not nil, gets events after they are durable, in order and
	// from one goroutine at a time.
	Events func([]e2ee.Event)
	// Trouble, if not nil, is told of each try that failed and is repeated.
	Trouble func(err error, wait time.Duration)

	wake   chan struct{}
	events chan struct{} // a lock for Events
	lanes  lanes         // of the one that sends: Run, Flush or Push
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

// Start prepares the loop. It must be called once, before Run, Send and Wake.
func (l *Loop[In, Req, Ans]) Start() {
	l.wake = make(chan struct{}, 1)
	l.events = make(chan struct{}, 1)
}

// Wake tells the loop that something may be due.
func (l *Loop[In, Req, Ans]) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Send hands a message to the machine. When Send returns, the message is in
// the outbox and survives a crash; Run carries it out.
func (l *Loop[In, Req, Ans]) Send(ctx context.Context, m quinta.Message) error {
	if err := l.Store.Update(ctx, func(tx e2ee.Tx) error { return l.Machine.Send(tx, m) }); err != nil {
		return err
	}
	l.Wake()
	return nil
}

// Do runs fn on the machine's state and hands on what it reports. It is the
// way in for all that is not a message: verification, trust, key import.
func (l *Loop[In, Req, Ans]) Do(ctx context.Context, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return l.step(ctx, fn)
}

// Run sends and receives until ctx ends or the link says that there is no use
// in going on. It returns nil only if ctx ended.
func (l *Loop[In, Req, Ans]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.send(ctx); err != nil {
			cancel(err)
		}
	}()
	err := l.receive(ctx)
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

// Flush carries out what is due and returns when nothing is, without
// receiving. It is for programs that send and end; it must not run together
// with Run or Push.
func (l *Loop[In, Req, Ans]) Flush(ctx context.Context) error {
	for {
		r, err := l.round(ctx)
		if err != nil || r.done+r.left == 0 {
			return err
		}
		if r.done == 0 {
			if err := sleep(ctx, r.next, nil); err != nil {
				return err
			}
		}
	}
}

// Push is Flush for who has other things to do: what fails for some seconds
// stays due, and is no error.
func (l *Loop[In, Req, Ans]) Push(ctx context.Context) error {
	last := time.Now()
	for {
		r, err := l.round(ctx)
		if err != nil || r.done+r.left == 0 {
			return err
		}
		if r.done > 0 {
			last = time.Now()
			continue
		}
		if r.next.Sub(last) > pushFor {
			return nil
		}
		if err := sleep(ctx, r.next, nil); err != nil {
			return err
		}
	}
}

// send carries out what is due, whenever something may be.
func (l *Loop[In, Req, Ans]) send(ctx context.Context) error {
	for ctx.Err() == nil {
		r, err := l.round(ctx)
		if err == nil && r.done == 0 {
			err = sleep(ctx, r.next, l.wake)
		}
		if err != nil {
			return l.unlessOver(ctx, err)
		}
	}
	return nil
}

// due asks the machine what is due.
func (l *Loop[In, Req, Ans]) due(ctx context.Context) ([]Req, error) {
	var due []Req
	if err := l.Store.Update(ctx, func(tx e2ee.Tx) (err error) { due, err = l.Machine.Outgoing(tx); return err }); err != nil {
		return nil, fmt.Errorf("asking what is due: %w", err)
	}
	return due, nil
}

// receive takes in what comes.
func (l *Loop[In, Req, Ans]) receive(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := l.Receive(ctx); err != nil {
			return l.unlessOver(ctx, err)
		}
	}
	return nil
}

// Receive waits for what comes next, takes it in once, and returns it. It is
// for programs that catch up and end; it must not run together with Run.
func (l *Loop[In, Req, Ans]) Receive(ctx context.Context) (In, error) {
	var in In
	if err := l.retry(ctx, func() (err error) { in, err = l.Link.Receive(ctx, l.Store); return err }); err != nil {
		return in, err
	}
	return in, l.step(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return l.Machine.Receive(tx, in) })
}

func (l *Loop[In, Req, Ans]) unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// step runs one step of the machine, commits it with what it means for the
// user, and then tells the user. Steps and their events keep their order.
func (l *Loop[In, Req, Ans]) step(ctx context.Context, fn func(e2ee.Tx) ([]e2ee.Event, error)) error {
	l.events <- struct{}{}
	defer func() { <-l.events }()
	var events []e2ee.Event
	err := l.Store.Update(ctx, func(tx e2ee.Tx) (err error) {
		if events, err = fn(tx); err != nil {
			return err
		}
		if l.Commit == nil || len(events) == 0 {
			return nil
		}
		return l.Commit(tx, events)
	})
	if err != nil {
		return err
	}
	if l.Events != nil && len(events) > 0 {
		l.Events(events)
	}
	l.Wake()
	return nil
}

// retry tries until there is an answer, with growing waits between the tries.
func (l *Loop[In, Req, Ans]) retry(ctx context.Context, try func() error) error {
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
		if l.Trouble != nil {
			l.Trouble(err, pause)
		}
		if err := sleep(ctx, time.Now().Add(pause), nil); err != nil {
			return err
		}
	}
}

// pause returns how long to wait before the next try; wait grows with each.
// It returns the cause if that is no reason to try again.
func (l *Loop[In, Req, Ans]) pause(ctx context.Context, cause error, wait *time.Duration) (time.Duration, error) {
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

// sleep returns at a time, which may be zero for never, or when wake has
// something, or with the error of ctx when that ended.
func sleep(ctx context.Context, until time.Time, wake <-chan struct{}) error {
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-due:
	case <-wake:
	}
	return nil
}

// jitter returns a random time between half of d and d, so that clients that
// lost one server do not come back in step.
func (l *Loop[In, Req, Ans]) jitter(d time.Duration) (time.Duration, error) {
	var b [4]byte
	if _, err := io.ReadFull(l.Env.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	return d/2 + time.Duration(uint64(d/2)*uint64(binary.BigEndian.Uint32(b[:]))>>32), nil
}
