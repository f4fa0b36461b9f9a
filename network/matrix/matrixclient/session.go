package matrixclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and
// Flush exclude each other.
type Session struct {
	st      client.Store
	env     e2ee.Env
	account account
	link    *link
	machine *machine
	loop    *client.Loop[input, matrix.Req, matrix.Ans]

	running atomic.Bool   // Run or Flush is going on, or about to
	held    chan struct{} // full while somebody receives
	live    atomic.Bool   // Run is going on, so that waiting is of use
	quiet   bool          // the messages of the step that is being committed are history; under the loop's lock

	mu      sync.Mutex
	changed chan struct{} // closed when something was committed
	inbox   []e2ee.Event  // what Run or Flush hands out
	arrived chan struct{} // wakes who hands out
	gapped  chan struct{} // wakes who fills gaps
	yield   func()        // ends the receiving of a wait, for Run
	trouble error         // the last one that was repeated
	flows   map[string]*flow
	asked   chan *flow
	needy   chan struct{}                            // wakes who tends the backup
	sent    map[quinta.TxnID]chan<- quinta.MessageID // requests of verifications
}

var (
	_ client.Session = (*Session)(nil)
)

func newSession(rt http.RoundTripper, st client.Store, env e2ee.Env, a account) *Session {
	s := &Session{
		held: make(chan struct{}, 1), env: env, account: a, changed: make(chan struct{}), arrived: make(chan struct{}, 1), gapped: make(chan struct{}, 1), flows: map[string]*flow{}, asked: make(chan *flow, maxAsked), needy: make(chan struct{}, 1),
		sent: map[quinta.TxnID]chan<- quinta.MessageID{},
		link: &link{conn: newConn(rt, a.Base, client.NewSecret(a.Token), env.Now)},
	}
	s.st = telling{st, s.committed}
	s.machine = &machine{Machine: matrix.New(env, a.User, a.Device), self: a.User, began: func(first bool) { s.quiet = first }, gapped: func() {
		select {
		case s.gapped <- struct{}{}:
		default:
		}
	}}
	s.loop = &client.Loop[input, matrix.Req, matrix.Ans]{
		Machine: s.machine, Link: s.link, Store: s.st, Env: env,
		Commit: commit, Events: s.deliver, Trouble: s.troubled,
	}
	s.link.due = func(ctx context.Context, id string) (due bool, err error) {
		err = s.look(ctx, func(tx e2ee.Tx) error { due, err = s.machine.Due(tx, id); return err })
		return due, err
	}
	s.loop.Start()
	return s
}

// Self returns the device.
func (s *Session) Self() quinta.Device {
	return quinta.Device{User: s.account.User, ID: s.account.Device, Name: s.account.Name}
}

// Close implements client.Session.
func (s *Session) Close() error {
	s.link.close()
	return s.st.Close()
}

var errRunning = quinta.E(quinta.KindConflict, "running the session", "it is running already")

// Run implements client.Session. on is called from one goroutine, and may use
// the session. The messages of the first sync of a device were sent before it
// existed: they stand in the timeline and are not given to on.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error {
	end, err := s.begin(ctx)
	if err != nil {
		return unlessOver(ctx, err)
	}
	defer end()
	s.link.waits.Store(true)
	s.live.Store(true)
	s.committed() // wakes who waits for it to run
	defer s.live.Store(false)
	stop := s.handOut(on)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.fillGaps(ctx) })
	beside.Go(func() { s.tend(ctx) })
	err = s.loop.Run(ctx)
	cancel()
	beside.Wait()
	return err
}

// begin makes this the one that receives. Who only waits for something gives
// way.
func (s *Session) begin(ctx context.Context) (end func(), err error) {
	if !s.running.CompareAndSwap(false, true) {
		return nil, errRunning
	}
	s.mu.Lock()
	yield := s.yield
	s.mu.Unlock()
	if yield != nil {
		yield()
	}
	select {
	case s.held <- struct{}{}:
		return func() { <-s.held; s.running.Store(false) }, nil
	case <-ctx.Done():
		s.running.Store(false)
		return nil, ctx.Err()
	}
}

func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// maxCatchUp bounds how often Flush asks for more: a room in which people talk
// without end must not keep it for ever.
const maxCatchUp = 100

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.link.waits.Store(false)
	stop := s.handOut(on)
	defer stop()
	if err := s.catchUp(ctx); err != nil {
		return s.explain(err)
	}
	if err := s.tendOnce(ctx); err != nil {
		if ctx.Err() != nil {
			return s.explain(ctx.Err())
		}
		// The backup is no condition for what is sent.
		s.give([]e2ee.Event{{Kind: e2ee.EventTrouble, Detail: wire.Printable(err.Error())}})
	}
	return s.explain(s.loop.Flush(ctx))
}

// catchUp receives until nothing more is there.
func (s *Session) catchUp(ctx context.Context) error {
	for range maxCatchUp {
		in, err := s.loop.Receive(ctx)
		if err != nil {
			return err
		}
		if in.Since != "" && len(in.ToDevice) == 0 && len(in.Rooms) == 0 {
			return nil
		}
	}
	return nil
}

// explain adds to the end of a context what stood in the way until then.
func (s *Session) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, s.trouble)
}

// troubled is told of each try that failed.
func (s *Session) troubled(err error, wait time.Duration) {
	s.mu.Lock()
	s.trouble = err
	s.mu.Unlock()
	s.give([]e2ee.Event{{Kind: e2ee.EventTrouble, Detail: fmt.Sprintf("%s; next try in %s", wire.Printable(err.Error()), wait.Round(time.Millisecond))}})
}

// deliver gets the events of a step after they are durable.
func (s *Session) deliver(events []e2ee.Event) {
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
	s.give(out)
}

// committed wakes who waits for something to change.
func (s *Session) committed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// A telling store tells of each commit.
type telling struct {
	client.Store
	committed func()
}

// Update implements client.Store.
func (t telling) Update(ctx context.Context, fn func(e2ee.Tx) error) error {
	err := t.Store.Update(ctx, fn)
	if err == nil {
		t.committed()
	}
	return err
}

// do runs one step of the machine. Messages that it brings are history if it
// is quiet.
func (s *Session) do(ctx context.Context, quiet bool, fn func(e2ee.Tx) ([]e2ee.Event, error)) error {
	return s.loop.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		s.quiet = quiet
		return fn(tx)
	})
}

// maxInbox bounds the events that wait for a Run or Flush, or for on to keep
// up. What is older then stands in the timeline only.
const maxInbox = 100_000

// give puts events into the inbox. They wait there also while nobody takes
// from it: Create and Join ask the server too.
func (s *Session) give(events []e2ee.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox = append(s.inbox, events...)
	if over := len(s.inbox) - maxInbox; over > 0 {
		s.inbox = slices.Delete(s.inbox, 0, over)
	}
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// handOut calls on with each event that comes, until stop is called; stop
// hands out the rest and returns when on has returned.
func (s *Session) handOut(on func(e2ee.Event)) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			s.mu.Lock()
			batch := s.inbox
			s.inbox = nil
			s.mu.Unlock()
			for _, e := range batch {
				if on != nil {
					on(e)
				}
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-s.arrived:
			case <-end:
				s.mu.Lock()
				rest := len(s.inbox)
				s.mu.Unlock()
				if rest == 0 {
					return
				}
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}

// look runs fn over what is committed.
func (s *Session) look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return s.st.View(ctx, fn)
}

// wait returns when cond holds of what is committed. If the session does not
// run it asks the server itself.
func (s *Session) wait(ctx context.Context, what string, cond func(tx e2ee.Tx) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, waitFor, quinta.E(quinta.KindUnavailable, what, dial.ErrSlow.Error()))
	defer cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		done := false
		if err := s.look(ctx, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err }); err != nil || done {
			return orCause(ctx, err)
		}
		if done, tried, err := s.receiveFor(ctx, cond); done || err != nil {
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
func (s *Session) receiveFor(ctx context.Context, cond func(tx e2ee.Tx) (bool, error)) (done, tried bool, err error) {
	select {
	case s.held <- struct{}{}:
		defer func() { <-s.held }()
	default:
		return false, false, nil
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.yield = cancel
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.yield = nil; s.mu.Unlock() }()
	if s.running.Load() {
		return false, false, nil
	}
	// What is due goes out first: its answers may be what is waited for. What
	// cannot get through now does not keep from receiving.
	err = s.loop.Push(short)
	if err == nil {
		err = s.look(ctx, func(tx e2ee.Tx) (err error) { done, err = cond(tx); return err })
	}
	if err == nil && !done {
		s.link.waits.Store(true)
		_, err = s.loop.Receive(short)
	}
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		err = nil // gave way
	}
	return done, true, err
}

// waitFor bounds the waits for something that the server is to tell.
const waitFor = time.Minute

// orCause returns why ctx ended instead of that it did.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// newTxn makes an idempotency id that nobody used: 16 random bytes.
func (s *Session) newTxn() (quinta.TxnID, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return quinta.TxnID(base64.RawURLEncoding.EncodeToString(b[:])), nil
}
