package matrixclient

import (
	"context"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and
// Flush exclude each other.
type Session struct {
	// verifiedOnly is Network.VerifiedOnly.
	verifiedOnly bool

	st      client.Store // the runner's: what is committed wakes its waits
	env     e2ee.Env
	account seat.Account
	link    *link
	machine *machine
	runner  *client.Runner

	// quiet: the messages of the step that is being committed are history;
	// under the loop's lock.
	quiet  bool
	gapped chan struct{} // wakes the goroutine that fills gaps
	needy  chan struct{} // wakes the goroutine that tends the backup

	mu    sync.Mutex
	flows map[string]*flow
	asked chan *flow
	sent  map[quinta.TxnID]chan<- quinta.MessageID // requests of verifications
}

var (
	_ client.Session = (*Session)(nil)
)

func newSession(n Network, st client.Store, env e2ee.Env, a seat.Account) *Session {
	s := &Session{
		verifiedOnly: n.VerifiedOnly,
		env:          env, account: a, gapped: make(chan struct{}, 1), needy: make(chan struct{}, 1),
		flows: map[string]*flow{}, asked: make(chan *flow, maxAsked), sent: map[quinta.TxnID]chan<- quinta.MessageID{},
		link: &link{conn: newConn(n.Transport, a.Base, client.NewSecret(a.Token), env.Now)},
	}
	encryption := matrix.New
	if n.VerifiedOnly {
		encryption = matrix.NewVerifiedOnly
	}
	s.machine = &machine{Machine: encryption(env, a.User, a.Device), self: a.User, began: func(first bool) { s.quiet = first }, gapped: func() {
		select {
		case s.gapped <- struct{}{}:
		default:
		}
	}}
	s.link.due = func(ctx context.Context, id string) (due bool, err error) {
		err = s.look(ctx, func(tx e2ee.Tx) error { due, err = s.machine.Due(tx, id); return err })
		return due, err
	}
	s.runner = client.NewRunner(
		client.Parts[matrix.In, matrix.Req, matrix.Ans]{Machine: s.machine, Link: s.link, Store: st, Env: env, Commit: commit},
		client.Hooks[matrix.In]{
			Waits:    s.link.waits.Store,
			Filter:   s.shown,
			CaughtUp: func(in matrix.In) bool { return in.Since != "" && len(in.ToDevice) == 0 && len(in.Rooms) == 0 },
			Flush:    s.tendOnce, // the backup is no condition for what is sent
			Beside:   []func(context.Context){s.fillGaps, s.tend},
		})
	s.st = s.runner.Store()
	return s
}

// Self returns the device.
func (s *Session) Self() quinta.Device {
	return s.account.Self()
}

// Close implements client.Session.
func (s *Session) Close() error {
	s.link.close()
	return s.st.Close()
}

// Run implements client.Session. on is called from one goroutine, and may use
// the session. The messages of the first sync of a device were sent before it
// existed: they are in the timeline and are not given to on.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error { return s.runner.Run(ctx, on) }

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	return s.runner.Flush(ctx, on)
}

// shown takes the events of a step after they are durable, and leaves out
// those of verifications, and messages that came as history.
func (s *Session) shown(events []e2ee.Event) []e2ee.Event {
	quiet := s.quiet
	s.quiet = false
	s.backupNeeded(events)
	var out []e2ee.Event
	for _, e := range events {
		if s.verification(e) {
			continue
		}
		switch e.Kind {
		case e2ee.EventMessage, e2ee.EventUndecryptable, e2ee.EventReceipt:
			if quiet {
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// do runs one step of the machine. Messages that it brings are history if it
// is quiet.
func (s *Session) do(ctx context.Context, quiet bool, fn func(e2ee.Tx) ([]e2ee.Event, error)) error {
	return s.runner.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		s.quiet = quiet
		return fn(tx)
	})
}

// look runs fn over what is committed.
func (s *Session) look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return s.runner.Look(ctx, fn)
}
