package caclient

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and
// Flush exclude each other.
type Session struct {
	env     e2ee.Env
	account seat.Account
	link    *link
	machine *ca.Machine
	runner  *client.Runner

	errands errands
	// quiet: the messages of the step that is being committed are history;
	// under the loop's lock.
	quiet bool
}

var _ client.Session = (*Session)(nil)

func newSession(n Network, st client.Store, env e2ee.Env, a seat.Account) *Session {
	s := &Session{env: env, account: a, machine: ca.New(env, a.User, a.Device, n.Policy)}
	s.link = &link{conn: newConn(n.Transport, a.Base, client.NewSecret(a.Token), env.Now), since: s.machine.Since}
	s.link.came = s.errands.came
	s.runner = client.NewRunner(
		client.Parts[ca.In, ca.Req, ca.Ans]{Machine: s.machine, Link: s.link, Store: st, Env: env, Commit: timeline.Apply},
		client.Hooks[ca.In]{
			Waits:    s.link.waits.Store,
			Filter:   s.shown,
			CaughtUp: func(in ca.In) bool { return len(in.Items) == 0 },
		})
	return s
}

// Self returns the device.
func (s *Session) Self() quinta.Device {
	return s.account.Self()
}

// Run implements client.Session. on is called from one goroutine, and may use
// the session.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error { return s.runner.Run(ctx, on) }

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	return s.runner.Flush(ctx, on)
}

// Close implements client.Session.
func (s *Session) Close() error {
	s.link.close()
	return s.runner.Store().Close()
}

// shown leaves out the messages that came as history.
func (s *Session) shown(events []e2ee.Event) []e2ee.Event {
	quiet := s.quiet
	s.quiet = false
	if !quiet {
		return events
	}
	var out []e2ee.Event
	for _, e := range events {
		if e.Kind != e2ee.EventMessage && e.Kind != e2ee.EventUndecryptable {
			out = append(out, e)
		}
	}
	return out
}

// do runs one step of the machine. Messages that it brings are history if it
// is quiet.
func (s *Session) do(ctx context.Context, quiet bool, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return s.runner.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		s.quiet = quiet
		return fn(tx)
	})
}

// change runs one step of the machine that reports nothing.
func (s *Session) change(ctx context.Context, op string, fn func(tx e2ee.Tx) error) error {
	return errorOf(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, fn(tx) }))
}

// look runs fn over what is committed.
func (s *Session) look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return s.runner.Look(ctx, fn)
}

// Send implements client.Session. A file is sealed and uploaded before Send
// returns.
func (s *Session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	const op = "sending"
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return "", err
	}
	m := s.account.Message(room, d, txn, s.env.Now())
	if d.File != nil {
		// Nothing is uploaded for a conversation that takes no message.
		if err := s.look(ctx, func(tx e2ee.Tx) error { _, err := s.machine.Room(tx, room); return err }); err != nil {
			return "", errorOf(op, err)
		}
		if m.File, err = s.upload(ctx, d.File); err != nil {
			return "", err
		}
		m.Kind = quinta.MessageFile
	}
	if err := s.runner.Send(ctx, m); err != nil {
		return "", errorOf(op, err)
	}
	return txn, nil
}

// errorOf puts the machine's refusals into the words of the core.
func errorOf(op string, err error) error {
	for _, c := range []struct {
		is   error
		kind quinta.Kind
	}{
		{ca.ErrUnknownConversation, quinta.KindNotFound},
		{ca.ErrUnknownDevice, quinta.KindNotFound},
		{ca.ErrKeyChanged, quinta.KindForbidden},
		{ca.ErrDowngrade, quinta.KindForbidden},
		{cert.ErrExpired, quinta.KindForbidden},
		{cert.ErrUntrusted, quinta.KindForbidden},
		{cert.ErrMismatch, quinta.KindConflict},
		{cert.ErrUnsupported, quinta.KindInvalid},
		{cert.ErrMalformed, quinta.KindInvalid},
	} {
		if errors.Is(err, c.is) {
			return &quinta.Error{Kind: c.kind, Op: op, Err: err}
		}
	}
	return err
}
