package client

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A loop and a runner are compiled once for all networks: they pass on what
// the machine and the link exchange without a look at it. What has types is at
// their edge, here.

func (p Parts[In, Req, Ans]) untyped() Parts[any, any, any] {
	return Parts[any, any, any]{
		Machine: machine[In, Req, Ans]{p.Machine}, Link: link[In, Req, Ans]{p.Link},
		Store: p.Store, Env: p.Env, Commit: p.Commit, Events: p.Events, Trouble: p.Trouble,
	}
}

func (h Hooks[In]) untyped() Hooks[any] {
	out := Hooks[any]{Waits: h.Waits, Filter: h.Filter, Flush: h.Flush, Beside: h.Beside}
	if h.CaughtUp != nil {
		out.CaughtUp = func(in any) bool { return h.CaughtUp(in.(In)) }
	}
	return out
}

// A machine is a machine without its types.
type machine[In, Req, Ans any] struct{ typed e2ee.Machine[In, Req, Ans] }

// Send implements e2ee.Machine.
func (m machine[In, Req, Ans]) Send(tx e2ee.Tx, msg quinta.Message) error {
	return m.typed.Send(tx, msg)
}

// Receive implements e2ee.Machine.
func (m machine[In, Req, Ans]) Receive(tx e2ee.Tx, in any) ([]e2ee.Event, error) {
	return m.typed.Receive(tx, in.(In))
}

// Outgoing implements e2ee.Machine.
func (m machine[In, Req, Ans]) Outgoing(tx e2ee.Tx) ([]any, error) {
	due, err := m.typed.Outgoing(tx)
	out := make([]any, len(due))
	for i, req := range due {
		out[i] = req
	}
	return out, err
}

// Done implements e2ee.Machine.
func (m machine[In, Req, Ans]) Done(tx e2ee.Tx, req, ans any) ([]e2ee.Event, error) {
	return m.typed.Done(tx, req.(Req), ans.(Ans))
}

// A link is a link without its types.
type link[In, Req, Ans any] struct{ typed Link[In, Req, Ans] }

// Do implements Link.
func (l link[In, Req, Ans]) Do(ctx context.Context, req any) (any, error) {
	return l.typed.Do(ctx, req.(Req))
}

// Receive implements Link.
func (l link[In, Req, Ans]) Receive(ctx context.Context, st Store) (any, error) {
	return l.typed.Receive(ctx, st)
}
