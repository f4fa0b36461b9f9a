package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// A station is a server of lines over TCP: "do REQUEST" is answered with "ok
// REQUEST", and "in TEXT" is said by itself.
type station struct {
	l net.Listener
	// refuse, if not nil, says whether to hang up instead of answering.
	refuse func(req string) bool

	mu    sync.Mutex
	conns []net.Conn
	asked []string
	all   int // connections so far
	open  int
	// came, heard and ended get a word for each connection, request, and
	// connection that ended.
	came, heard, ended chan struct{}
}

func newStation(t *testing.T) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{l: l, came: make(chan struct{}, 100), heard: make(chan struct{}, 100), ended: make(chan struct{}, 100)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.all++
			s.open++
			s.mu.Unlock()
			s.came <- struct{}{}
			all.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.hangUp()
		all.Wait()
	})
	return s
}

func (s *station) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
		s.ended <- struct{}{}
	}()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		req := strings.TrimPrefix(lines.Text(), "do ")
		s.mu.Lock()
		s.asked = append(s.asked, req)
		refuse := s.refuse != nil && s.refuse(req)
		s.mu.Unlock()
		s.heard <- struct{}{}
		if refuse {
			return
		}
		fmt.Fprintf(c, "ok %s\n", req)
	}
}

// says sends a text over all connections.
func (s *station) says(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		fmt.Fprintf(c, "in %s\n", text) // one that is closed does not hear it
	}
}

// hangUp ends all connections.
func (s *station) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *station) counts() (all, open int, asked []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all, s.open, slices.Clone(s.asked)
}

// A phone is a link over one connection to a station.
type phone struct {
	addr string

	mu    sync.Mutex
	conn  net.Conn
	waits map[string]chan string
	in    chan string
	// fails counts the dials that fail before one succeeds; hungUp is the
	// cause with which a lost connection ends.
	fails  int
	hungUp error
}

func (p *phone) Connect(ctx context.Context) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails > 0 {
		p.fails--
		return nil, nil, quinta.E(quinta.KindUnavailable, "dialling", "nobody answers")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, nil, &quinta.Error{Kind: quinta.KindUnavailable, Op: "dialling", Err: err}
	}
	live, end := context.WithCancelCause(context.Background())
	p.conn, p.waits, p.in = c, map[string]chan string{}, make(chan string, 10)
	in, done := p.in, make(chan struct{})
	cause := p.hungUp
	if cause == nil {
		cause = io.EOF
	}
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			word, text, _ := strings.Cut(lines.Text(), " ")
			if word == "in" {
				in <- text
				continue
			}
			p.mu.Lock()
			wait := p.waits[text]
			p.mu.Unlock()
			wait <- word
		}
		end(cause)
	}()
	return live, func() { c.Close(); <-done }, nil
}

func (p *phone) Do(ctx context.Context, req string) (string, error) {
	p.mu.Lock()
	c, wait := p.conn, make(chan string, 1)
	p.waits[req] = wait
	p.mu.Unlock()
	if _, err := fmt.Fprintf(c, "do %s\n", req); err != nil {
		return "", quinta.E(quinta.KindUnavailable, "asking", "the line is dead")
	}
	select {
	case ans := <-wait:
		return ans, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (p *phone) Receive(ctx context.Context, _ client.Store) (string, error) {
	p.mu.Lock()
	in := p.in
	p.mu.Unlock()
	select {
	case s := <-in:
		return s, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

var _ client.Connected = (*phone)(nil)

// TestConnectionIsHeld: one connection serves all that Run carries and
// receives, a lost one is dialled again, what had no answer is asked again,
// and none is left when Run has ended.
func TestConnectionIsHeld(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	r := newRunner(&phone{addr: s.l.Addr().String(), fails: 2}, hooks{})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan e2ee.Event, 100)
	next := func(kind e2ee.EventKind, text string) {
		t.Helper()
		for e := range got {
			if e.Kind == kind {
				if e.Message.Text != text && string(e.Message.Txn) != text {
					t.Errorf("got %+v, want %q", e, text)
				}
				return
			}
		}
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(e e2ee.Event) { got <- e }) }()
	send(t, r, "1")
	next(e2ee.EventSent, "1")
	s.says("hello")
	next(e2ee.EventMessage, "hello")
	send(t, r, "2")
	next(e2ee.EventSent, "2")
	if all, _, _ := s.counts(); all != 1 {
		t.Errorf("got %d connections, want one for all", all)
	}
	s.mu.Lock()
	lost := false
	s.refuse = func(string) bool { first := !lost; lost = true; return first }
	s.mu.Unlock()
	send(t, r, "3")
	next(e2ee.EventSent, "3")
	s.says("again")
	next(e2ee.EventMessage, "again")
	all, open, asked := s.counts()
	if all != 2 || open != 1 || !slices.Equal(asked, []string{"1=hi", "2=hi", "3=hi", "3=hi"}) {
		t.Errorf("got %d connections, %d open, and %q, want a second one over which the lost request is repeated", all, open, asked)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-s.ended
	<-s.ended
	if _, open, _ := s.counts(); open != 0 {
		t.Errorf("got %d connections open after Run, want none", open)
	}
}

// TestConnectionOfFlushAndWait: Flush, Push, Wait and Connect each have the
// link connected for as long as they last, and share the connection of
// another.
func TestConnectionOfFlushAndWait(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	r := newRunner(&phone{addr: s.l.Addr().String()}, hooks{})
	closed := func(what string, n int) {
		t.Helper()
		<-s.ended
		if all, open, _ := s.counts(); all != n || open != 0 {
			t.Errorf("after %s: got %d connections and %d open, want %d and none", what, all, open, n)
		}
	}
	send(t, r, "1")
	if err := r.Push(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	closed("Push", 1)
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(t.Context(), "waiting", holds("word")) }()
	send(t, r, "2")
	<-s.heard // that of Push
	<-s.heard
	<-s.came
	<-s.came
	live, release, err := r.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.says("word")
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if all, open, _ := s.counts(); all != 2 || open != 1 || live.Err() != nil {
		t.Errorf("got %d connections, %d open, %v; want the one of the wait kept by Connect", all, open, live.Err())
	}
	release()
	closed("Connect", 2)
	send(t, r, "3")
	flushed := make(chan error, 1)
	go func() { flushed <- r.Flush(t.Context(), nil) }()
	<-s.came
	s.says("all")
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	closed("Flush", 3)
}

// TestConnectionEndsForGood: a connection that ends for a reason that does not
// pass ends Run with that reason; so does a dial.
func TestConnectionEndsForGood(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	out := quinta.E(quinta.KindUnauthenticated, "listening", "signed out")
	r := newRunner(&phone{addr: s.l.Addr().String(), hungUp: out}, hooks{})
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context(), nil) }()
	send(t, r, "1")
	<-s.heard
	s.hangUp()
	if err := <-done; !errors.Is(err, out) {
		t.Errorf("got %v, want that the device was signed out", err)
	}
	l := &refusing{err: quinta.E(quinta.KindUnauthenticated, "dialling", "signed out")}
	if err := newRunner(l, hooks{}).Run(t.Context(), nil); !errors.Is(err, l.err) || l.dials != 1 {
		t.Errorf("got %v after %d dials, want the reason after one", err, l.dials)
	}
}

// refusing is a link that cannot be connected.
type refusing struct {
	wire
	err    error
	dials  int
	times  []time.Time
	enough func()
}

func (r *refusing) Connect(context.Context) (context.Context, func(), error) {
	r.dials++
	r.times = append(r.times, time.Now())
	if r.dials == 4 && r.enough != nil {
		r.enough()
	}
	return nil, nil, r.err
}

// TestDialsBackOff: dials that fail come after longer and longer waits, also
// when several lanes and the receiving want the connection.
func TestDialsBackOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &refusing{err: quinta.E(quinta.KindUnavailable, "dialling", "nobody answers"), enough: cancel}
	r := client.NewRunner(parts{Machine: echo{}, Link: l, Store: memory.New(), Env: env}, hooks{})
	send(t, r, "1")
	if err := r.Run(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for i, least := range []time.Duration{125, 250, 500} {
		if got := l.times[i+1].Sub(l.times[i]); got < least*time.Millisecond {
			t.Errorf("got dial %d after %s, want at least %s", i+2, got, least*time.Millisecond)
		}
	}
}
