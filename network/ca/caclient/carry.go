package caclient

import (
	"context"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

// The machine makes calls and takes answers by itself. A caller that needs the
// outcome of one call registers for its answer before telling the machine to
// make it.

// An errand is a call whose answer is expected.
type errand struct {
	kind ca.ReqKind
	// what is the conversation, key or user that the call is about.
	what string

	mu  sync.Mutex
	ans *ca.Ans
}

// answer returns the answer, or nil if it has not come.
func (e *errand) answer() *ca.Ans {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ans
}

// about returns what a call is about.
func about(r *ca.Req) string { return string(r.Conv) + string(r.Key) + string(r.User) }

// errands are those that are expected now.
type errands struct {
	mu   sync.Mutex
	open map[*errand]bool
}

// expect notes answers to calls from now on; end ends that.
func (es *errands) expect(list ...*errand) (end func()) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if es.open == nil {
		es.open = map[*errand]bool{}
	}
	for _, e := range list {
		es.open[e] = true
	}
	return func() {
		es.mu.Lock()
		defer es.mu.Unlock()
		for _, e := range list {
			delete(es.open, e)
		}
	}
}

// came takes the answer to a call. It is there before the machine has
// committed what it makes of it, so that who waits for a commit finds it.
func (es *errands) came(r *ca.Req, a ca.Ans) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for e := range es.open {
		if e.kind == r.Kind && (e.what == "" || e.what == about(r)) {
			e.mu.Lock()
			e.ans = &a
			e.mu.Unlock()
		}
	}
}

// refused makes the error of a refusal.
func refused(op string, a *ca.Ans) error {
	we := &wire.Error{Code: wire.Code(a.Code), Detail: printable.Line(a.Detail)}
	return &quinta.Error{Kind: kindOf(we), Op: op, Err: we}
}

// carry runs fn, which has the machine make the errand's call, and waits until
// it was answered or done holds. A refusal is an error.
func (s *Session) carry(ctx context.Context, op string, e *errand, fn func(tx e2ee.Tx) error, done func(tx e2ee.Tx) (bool, error)) error {
	defer s.errands.expect(e)()
	if err := s.change(ctx, op, fn); err != nil {
		return err
	}
	err := s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		if e.answer() != nil || done == nil {
			return e.answer() != nil, nil
		}
		return done(tx)
	})
	if a := e.answer(); err == nil && a != nil && a.Code != "" {
		return refused(op, a)
	}
	return errorOf(op, err)
}
