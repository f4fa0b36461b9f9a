package client_test

import (
	"context"
	"fmt"
	"maps"
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

// A slip is a request "number lane=text"; its lane is what stands after the
// number.
type slip string

func (s slip) Lane() string {
	_, lane, _ := strings.Cut(string(s), " ")
	lane, _, _ = strings.Cut(lane, "=")
	return lane
}

// counter is echo with requests in lanes; it counts how often it was asked
// what is due.
type counter struct {
	echo
	mu     sync.Mutex
	rounds int
}

func (c *counter) Outgoing(tx e2ee.Tx) ([]slip, error) {
	c.mu.Lock()
	c.rounds++
	c.mu.Unlock()
	all, err := c.echo.Outgoing(tx)
	var out []slip
	for _, s := range all {
		out = append(out, slip(s))
	}
	return out, err
}

func (c *counter) Done(tx e2ee.Tx, req slip, ans string) ([]e2ee.Event, error) {
	return c.echo.Done(tx, string(req), ans)
}

func (c *counter) round() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rounds
}

// slipWire is wire for slips.
type slipWire struct{ wire }

func (w *slipWire) Do(ctx context.Context, req slip) (string, error) {
	return w.wire.Do(ctx, string(req))
}

type (
	slipLoop  = client.Loop
	slipParts = client.Parts[string, slip, string]
)

// newLanes makes a loop with these requests due, and what p adds to its parts.
func newLanes(t *testing.T, w client.Link[string, slip, string], p slipParts, due ...string) (*slipLoop, *counter) {
	t.Helper()
	c := &counter{}
	p.Machine, p.Link, p.Store, p.Env = c, w, memory.New(), env
	l := client.NewLoop(p)
	for _, txn := range due {
		if err := l.Send(t.Context(), quinta.Message{Txn: quinta.TxnID(txn), Text: "hi"}); err != nil {
			t.Fatal(err)
		}
	}
	return l, c
}

var errDown = quinta.E(quinta.KindUnavailable, "send", "the server is in trouble")

// TestPoisonedRequestHoldsUpItsLaneOnly: a request that the server can never
// take keeps those behind it in its lane, in their order, and nothing else.
func TestPoisonedRequestHoldsUpItsLaneOnly(t *testing.T) {
	t.Parallel()
	w := &slipWire{wire{in: make(chan string)}}
	healed, tries := false, 0 // under the lock of w
	w.fail = func(req string, _ int) error {
		if req == "1 kitchen=hi" && !healed {
			tries++
			return errDown
		}
		return nil
	}
	sent := make(chan string, 10)
	trouble := make(chan time.Duration, 100)
	l, _ := newLanes(t, w, slipParts{
		Events: func(es []e2ee.Event) {
			for _, e := range es {
				if e.Kind == e2ee.EventSent {
					sent <- string(e.Message.Txn)
				}
			}
		},
		Trouble: func(_ error, wait time.Duration) { trouble <- wait },
	}, "1 kitchen", "2 kitchen", "3 garden", "4 garden", "5 kitchen", "6 attic")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	others := []string{<-sent, <-sent, <-sent}
	if first := slices.Index(others, "3 garden"); first < 0 || slices.Index(others, "4 garden") < first || !slices.Contains(others, "6 attic") {
		t.Errorf("got %q sent, want the garden in its order, and the attic", others)
	}
	// It is tried again, after longer and longer waits, and what comes later
	// does not wait for it.
	first := <-trouble
	if third := func() time.Duration { <-trouble; return <-trouble }(); third <= first {
		t.Errorf("got waits of %s and then %s, want longer ones", first, third)
	}
	if err := l.Send(ctx, quinta.Message{Txn: "7 attic", Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	if got := <-sent; got != "7 attic" {
		t.Errorf("got %q sent, want what is in another lane", got)
	}
	w.mu.Lock()
	if slices.Contains(w.did, "2 kitchen=hi") || slices.Contains(w.did, "5 kitchen=hi") {
		t.Errorf("got %q, want nothing tried behind the request that fails", w.did)
	}
	if tries < 3 {
		t.Errorf("got %d tries, want the request tried again", tries)
	}
	healed = true
	w.mu.Unlock()
	for _, want := range []string{"1 kitchen", "2 kitchen", "5 kitchen"} {
		if got := <-sent; got != want {
			t.Errorf("got %q sent, want %q", got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestServerDownIsNotStormed: where nothing gets through, not every lane is
// tried each time.
func TestServerDownIsNotStormed(t *testing.T) {
	t.Parallel()
	w := &slipWire{}
	var due []string
	for i := range 30 {
		due = append(due, fmt.Sprintf("%02d lane%d", i, i))
	}
	l, c := newLanes(t, w, slipParts{}, due...)
	perRound := map[int]int{}
	const fails = 10
	down := fails
	w.fail = func(string, int) error {
		if down == 0 {
			return nil
		}
		down--
		perRound[c.round()]++
		return errDown
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := slices.Min(slices.Collect(maps.Keys(perRound)))
	for round, tries := range perRound {
		// The second failure shows that it is the server; until then four are
		// on their way, and one follows the first.
		if most := map[bool]int{true: 5, false: 2}[round == first]; tries > most {
			t.Errorf("got %d failed tries in round %d, want at most %d", tries, round, most)
		}
	}
	if got := len(w.did); got != len(due)+fails {
		t.Errorf("got %d tries, want %d that failed and one of each request", got, fails)
	}
}

// TestServerIsBack: when a server that was away answers one request, the others
// that failed meanwhile do not wait until it is their time.
func TestServerIsBack(t *testing.T) {
	t.Parallel()
	w := &slipWire{}
	l, _ := newLanes(t, w, slipParts{}, "1 kitchen", "2 garden", "3 attic", "4 hall")
	down := 6
	w.fail = func(req string, _ int) error {
		if down > 0 {
			down--
			// Each of the first was told to wait for long, the last was not.
			after := 10 * time.Minute
			if strings.HasSuffix(req, "hall=hi") {
				after = time.Millisecond
			}
			return &client.RetryError{After: after, Err: errDown}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Flush(ctx); err != nil {
		t.Errorf("got %v after %q, want all answered long before their time", err, w.did)
	}
}

// TestLimitedServerIsLeftAlone: when the server asks to wait, those
// that have not left wait too.
func TestLimitedServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := &slipWire{}
	l, _ := newLanes(t, w, slipParts{}, "1 kitchen", "2 garden", "3 attic", "4 hall", "5 cellar", "6 roof")
	const after = 30 * time.Millisecond
	var asked, next time.Time
	w.fail = func(_ string, try int) error {
		switch {
		case try <= 4: // those that leave together
			asked = time.Now()
			return &client.RetryError{After: after, Err: quinta.E(quinta.KindLimited, "send", "too fast")}
		case try == 5:
			next = time.Now()
		}
		return nil
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.did) != 10 {
		t.Errorf("got tries %q, want four that were limited and one of each", w.did)
	}
	if got := next.Sub(asked); got < after {
		t.Errorf("got the next request after %s, want it after %s", got, after)
	}
}

// TestPushLeavesWhatFails: Push gets through what it can and does not wait for
// the rest; an error that is no reason to try again it returns.
func TestPushLeavesWhatFails(t *testing.T) {
	t.Parallel()
	w := &slipWire{}
	l, _ := newLanes(t, w, slipParts{}, "1 kitchen", "2 garden", "3 kitchen", "4 garden")
	cause := error(errDown)
	w.fail = func(req string, _ int) error {
		if strings.Contains(req, "kitchen") {
			return cause
		}
		return nil
	}
	if err := l.Push(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.did, "2 garden=hi") || !slices.Contains(w.did, "4 garden=hi") || slices.Contains(w.did, "3 kitchen=hi") {
		t.Errorf("got %q, want both of the garden and the first of the kitchen", w.did)
	}
	w.did, cause = nil, quinta.E(quinta.KindUnauthenticated, "send", "signed out")
	if err := l.Push(t.Context(), nil); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want that the device was signed out", err)
	}
	w.fail = nil
	if err := l.Push(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.did[len(w.did)-2:]); got != "[1 kitchen=hi 3 kitchen=hi]" {
		t.Errorf("got %s at the end, want what had been left", got)
	}
}

// TestWithoutLanesOrderHolds: requests that do not say what they may overtake
// keep their order.
func TestWithoutLanesOrderHolds(t *testing.T) {
	t.Parallel()
	w := &wire{fail: func(_ string, try int) error {
		if try < 3 {
			return errDown
		}
		return nil
	}}
	l := newLoop(w, memory.New(), parts{})
	send(t, l, "1")
	send(t, l, "2")
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.did); got != "[1=hi 1=hi 1=hi 2=hi]" {
		t.Errorf("got %s, want the second after the first was answered", got)
	}
}

// meeting is a link over which requests wait for each other: Do returns when
// it is told.
type meeting struct {
	wire
	came  chan string
	mu    sync.Mutex
	gates map[string]chan struct{}
}

func (m *meeting) gate(req string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gates == nil {
		m.gates = map[string]chan struct{}{}
	}
	if m.gates[req] == nil {
		m.gates[req] = make(chan struct{})
	}
	return m.gates[req]
}

func (m *meeting) Do(ctx context.Context, req slip) (string, error) {
	m.came <- string(req)
	select {
	case <-m.gate(string(req)):
		return "ok", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// TestLanesLeaveTogether: the first requests of four lanes are on their way at
// a time, no more, and none before the one before it in its lane was answered;
// a request that gets no answer keeps neither the others nor what becomes due
// meanwhile.
func TestLanesLeaveTogether(t *testing.T) {
	t.Parallel()
	m := &meeting{came: make(chan string, 10)}
	l, _ := newLanes(t, m, slipParts{}, "1 kitchen", "2 kitchen", "3 garden", "4 attic", "5 hall", "6 cellar")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	together := []string{<-m.came, <-m.came, <-m.came, <-m.came}
	slices.Sort(together)
	if want := []string{"1 kitchen=hi", "3 garden=hi", "4 attic=hi", "5 hall=hi"}; !slices.Equal(together, want) {
		t.Errorf("got %q on their way, want %q", together, want)
	}
	select {
	case req := <-m.came:
		t.Errorf("got %q on its way as the fifth", req)
	case <-time.After(100 * time.Millisecond):
	}
	// The kitchen never gets an answer.
	for _, step := range []struct{ answered, next string }{{"3 garden=hi", "6 cellar=hi"}, {"4 attic=hi", ""}, {"5 hall=hi", ""}, {"6 cellar=hi", ""}} {
		close(m.gate(step.answered))
		if step.next != "" {
			if got := <-m.came; got != step.next {
				t.Errorf("got %q after %q was answered, want %q", got, step.answered, step.next)
			}
		}
	}
	if err := l.Send(ctx, quinta.Message{Txn: "7 garden", Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	if got := <-m.came; got != "7 garden=hi" {
		t.Errorf("got %q, want what became due while the kitchen waits", got)
	}
	close(m.gate("1 kitchen=hi"))
	if got := <-m.came; got != "2 kitchen=hi" {
		t.Errorf("got %q, want the second of the kitchen once the first was answered", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
