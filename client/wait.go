package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// waitFor bounds the waits for something that the server is to tell.
const waitFor = time.Minute

// errSlow says that a wait was in vain.
var errSlow = errors.New("the server did not answer in time")

// Wait returns when cond holds for the committed state. If no other call
// sends and receives, Wait does: first it sends what is due, as the answer
// may be what it is waiting for, and then it does both at the same time, so
// that a request that cannot get through does not keep it from receiving. It
// yields to Run, Flush and Push. op names the wait in its error.
func (r *Runner) Wait(ctx context.Context, op string, cond func(tx e2ee.Tx) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, waitFor, &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: errSlow})
	defer cancel()
	// Both this goroutine and the one that receives ask; callers note in cond
	// what they saw, so only one of them asks at a time.
	var asking sync.Mutex
	asked := cond
	cond = func(tx e2ee.Tx) (bool, error) {
		asking.Lock()
		defer asking.Unlock()
		return asked(tx)
	}
	r.loop.Wake()
	var ended <-chan error
	defer func() {
		if ended != nil {
			cancel()
			<-ended
		}
	}()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		done := false
		if err := r.Look(ctx, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err }); err != nil || done {
			return r.orCause(ctx, err)
		}
		if ended == nil {
			ended = r.runFor(ctx, cond)
		}
		select {
		case <-changed:
		case err := <-ended:
			ended = nil
			if err != nil {
				return r.orCause(ctx, err)
			}
		case <-ctx.Done():
			return r.orCause(ctx, ctx.Err())
		}
	}
}

// runFor begins to send and receive for a wait, if no one else does. What it
// returns gets the error, or nil if cond holds or it yielded; it is nil if
// someone else does.
func (r *Runner) runFor(ctx context.Context, cond func(tx e2ee.Tx) (bool, error)) <-chan error {
	if r.running.Load() {
		return nil
	}
	select {
	case r.held <- struct{}{}:
	default:
		return nil
	}
	short, yield := context.WithCancel(ctx)
	r.mu.Lock()
	r.yield, r.trouble = yield, nil
	r.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		var err error
		if !r.running.Load() {
			release := r.link.keep()
			r.waits(true)
			err = r.loop.run(short, func() (done bool, err error) {
				err = r.Look(short, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err })
				return done, err
			})
			release()
		}
		yield()
		r.mu.Lock()
		r.yield = nil
		r.mu.Unlock()
		<-r.held
		ended <- err
		r.committed() // another wait may receive
	}()
	return ended
}

// orCause returns why ctx ended instead of that it did, with what prevented
// progress until then.
func (r *Runner) orCause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil || time.Since(r.troubled) >= waitFor {
		return cause
	}
	if e, ok := errors.AsType[*quinta.Error](cause); ok && e.Err == errSlow {
		return &quinta.Error{Kind: e.Kind, Op: e.Op, Err: fmt.Errorf("%w: %w", errSlow, r.trouble)}
	}
	return fmt.Errorf("%w: %w", cause, r.trouble)
}
