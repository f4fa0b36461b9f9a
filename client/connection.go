package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
)

// Connected is a Link whose requests and answers share a connection that is
// held open. A [Runner] has it dialled when Run, Flush, Push, Wait or Connect
// needs it, dials again after a loss, and closes it when none of them is
// running. There is one connection at a time.
//
// The contexts of Do and Receive end when the connection is lost. An error
// that they return then counts as KindUnavailable, and the same request is
// carried out again over the next connection.
type Connected interface {
	// Connect dials and says whatever comes first, such as a handshake or
	// which device this is. ctx bounds the dialling only. The context that
	// Connect returns ends when the connection is lost; its cause, if it is a
	// *quinta.Error, is what Do and Receive return then, so that one of
	// KindUnauthenticated ends the loop. The function closes the connection
	// and returns when nothing uses it any more. The errors of Connect mean
	// the same as those of Do.
	Connect(ctx context.Context) (context.Context, func(), error)
}

const (
	// dialWithin bounds one try to connect.
	dialWithin = time.Minute
	// steadyFor is how long a connection must have lasted for its loss not to
	// count as one more failed try.
	steadyFor = 10 * time.Second
)

// A held link is a link over a connection, as far as the link has one.
type held struct {
	Link[any, any, any]
	dial   Connected // nil: the link holds no connection
	jitter func(time.Duration) (time.Duration, error)

	// dialing is full while someone dials, who alone uses delay, the time
	// before the next dial, and cause, the error of the last failure.
	dialing chan struct{}
	delay   delay
	cause   error

	mu sync.Mutex
	// users counts those for whom the connection is kept.
	users int
	live  context.Context // ends with the connection; nil before the first
	close func()          // nil: there is no connection
	since time.Time       // when it was dialled
}

// Do implements Link.
func (h *held) Do(ctx context.Context, req any) (ans any, err error) {
	err = h.over(ctx, func(ctx context.Context) (err error) { ans, err = h.Link.Do(ctx, req); return err })
	return ans, err
}

// Receive implements Link.
func (h *held) Receive(ctx context.Context, st Store) (in any, err error) {
	err = h.over(ctx, func(ctx context.Context) (err error) { in, err = h.Link.Receive(ctx, st); return err })
	return in, err
}

// over runs fn while there is a connection.
func (h *held) over(ctx context.Context, fn func(ctx context.Context) error) error {
	if h.dial == nil {
		return fn(ctx)
	}
	live, release, err := h.connect(ctx)
	if err != nil {
		return err
	}
	defer release()
	err = fn(live)
	if err == nil || ctx.Err() != nil || live.Err() == nil {
		return err
	}
	return lost(context.Cause(live), err)
}

// lost says what ended a call whose connection was lost.
func lost(cause, err error) error {
	if e, ok := errors.AsType[*quinta.Error](cause); ok {
		return e
	}
	if _, ok := errors.AsType[*quinta.Error](err); ok && quinta.KindOf(err) != quinta.KindInternal {
		return err
	}
	return &quinta.Error{Kind: quinta.KindUnavailable, Op: "speaking to the server", Err: fmt.Errorf("the connection was lost: %w", cause)}
}

// keep has the connection, once there is one, kept until release is called.
func (h *held) keep() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users++
	return h.release
}

func (h *held) release() {
	h.mu.Lock()
	var end func()
	if h.users--; h.users == 0 {
		end, h.close = h.close, nil
	}
	h.mu.Unlock()
	if end != nil {
		end()
	}
}

// connect returns a context that ends with ctx and with the connection, which
// is dialled if there is none and kept until release is called.
func (h *held) connect(ctx context.Context) (live context.Context, release func(), err error) {
	keep := h.keep()
	conn, err := h.ready(ctx)
	if err != nil {
		keep()
		return nil, nil, err
	}
	both, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(conn, func() { cancel(context.Cause(conn)) })
	return both, func() { stop(); cancel(nil); keep() }, nil
}

// ready returns the context of the connection, which it dials if there is
// none.
func (h *held) ready(ctx context.Context) (context.Context, error) {
	select {
	case h.dialing <- struct{}{}:
		defer func() { <-h.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h.mu.Lock()
	live, end, since := h.live, h.close, h.since
	if end != nil && live.Err() != nil {
		h.close = nil
	}
	h.mu.Unlock()
	now := time.Now()
	if end != nil {
		if live.Err() == nil {
			return live, nil
		}
		end()
		h.cause = lost(context.Cause(live), nil)
		if now.Sub(since) >= steadyFor {
			h.delay = delay{}
		} else if err := h.failed(now); err != nil {
			return nil, err
		}
	}
	if !h.delay.over(now) {
		return nil, &RetryError{After: h.delay.until.Sub(now), Err: h.cause}
	}
	short, cancel := context.WithTimeoutCause(ctx, dialWithin, errSlow)
	defer cancel()
	live, end, err := h.dial.Connect(short)
	if err != nil {
		if ctx.Err() == nil && short.Err() != nil {
			err = &quinta.Error{Kind: quinta.KindUnavailable, Op: "connecting to the server", Err: errSlow}
		}
		h.cause = err
		return nil, cmp.Or(h.failed(time.Now()), err)
	}
	h.mu.Lock()
	h.live, h.close, h.since = live, end, time.Now()
	h.mu.Unlock()
	return live, nil
}

// failed makes the next dial wait.
func (h *held) failed(now time.Time) error {
	h.delay.wait = grown(h.delay.wait)
	pause, err := h.jitter(h.delay.wait)
	h.delay.until = now.Add(pause)
	return err
}
