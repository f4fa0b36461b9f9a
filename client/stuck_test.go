package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// slips is a runner over requests in lanes.
func slips(w *slipWire, h client.Hooks[string]) *client.Runner {
	return client.NewRunner(slipParts{Machine: &counter{}, Link: w, Store: memory.New(), Env: env}, h)
}

// poisoned is a link that never takes what goes to the kitchen.
func poisoned() *slipWire {
	return &slipWire{wire{in: make(chan string, 10), fail: func(req string, _ int) error {
		if strings.Contains(req, "kitchen") {
			return errDown
		}
		return nil
	}}}
}

// TestFlushEnds: Flush carries out what it can, and gives the cause for what
// never gets through instead of waiting for it for ever.
func TestFlushEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := poisoned()
		r := slips(w, client.Hooks[string]{})
		send(t, r, "1 kitchen")
		send(t, r, "2 garden")
		w.in <- "all"
		sent, began := []string{}, time.Now()
		err := r.Flush(t.Context(), func(e e2ee.Event) {
			if e.Kind == e2ee.EventSent {
				sent = append(sent, string(e.Message.Txn))
			}
		})
		if quinta.KindOf(err) != quinta.KindUnavailable || !errors.Is(err, errDown) {
			t.Errorf("got %v, want what the server said of the kitchen", err)
		}
		if got := time.Since(began); got > 2*time.Minute {
			t.Errorf("got an end after %s", got)
		}
		if fmt.Sprint(sent) != "[2 garden]" {
			t.Errorf("got %q sent, want the garden", sent)
		}
	})
}

// TestFlushEndsWithoutAnswer: the same holds of a request that gets no answer
// at all.
func TestFlushEndsWithoutAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLanes(t, &meeting{came: make(chan string, 10)}, slipParts{}, "1 kitchen")
		if err := l.Flush(t.Context()); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("got %v, want that the server did not answer", err)
		}
	})
}

// TestWaitPassesWhatFails: a request that cannot get through keeps a Wait
// neither from receiving nor from what else is due.
func TestWaitPassesWhatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := poisoned()
		r := slips(w, client.Hooks[string]{})
		send(t, r, "1 kitchen")
		w.in <- "word"
		began := time.Now()
		if err := r.Wait(t.Context(), "waiting", holds("word")); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began); got > 5*time.Second {
			t.Errorf("got the word after %s, want it while the kitchen fails", got)
		}
		waited := make(chan error, 1)
		go func() { waited <- r.Wait(t.Context(), "waiting", holds("more")) }()
		synctest.Wait()
		send(t, r, "2 garden")
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		if got := w.did[len(w.did)-1]; !strings.Contains(fmt.Sprint(w.did), "2 garden=hi") {
			t.Errorf("got %q as the last try, want the garden sent while the wait receives", got)
		}
		w.mu.Unlock()
		w.in <- "more"
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

// TestTimeOutSaysWhy: a Flush or a Wait that ran out of time says what stood in
// the way.
func TestTimeOutSaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, fn := range map[string]func(ctx context.Context, r *client.Runner) error{
			"Flush": func(ctx context.Context, r *client.Runner) error { return r.Flush(ctx, nil) },
			"Wait": func(ctx context.Context, r *client.Runner) error {
				return r.Wait(ctx, "waiting", holds("never"))
			},
		} {
			w := poisoned()
			w.in <- "all"
			r := slips(w, client.Hooks[string]{})
			send(t, r, "1 kitchen")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := fn(ctx, r)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
				t.Errorf("%s: got %v, want the time-out and its cause", name, err)
			}
		}
		w := poisoned()
		r := slips(w, client.Hooks[string]{})
		send(t, r, "1 kitchen")
		if err := r.Wait(t.Context(), "waiting", holds("never")); quinta.KindOf(err) != quinta.KindUnavailable || !errors.Is(err, errDown) {
			t.Errorf("got %v at the end of a wait, want its cause", err)
		}
	})
}

// TestInboxIsBounded: of events that no one takes the newest are kept.
func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	w := &wire{in: make(chan string, 1)}
	r := newRunner(w, hooks{})
	const all, most = 100_500, 100_000
	for i := range all {
		r.Give([]e2ee.Event{{Detail: fmt.Sprint(i)}})
	}
	w.in <- "last"
	got, first := 0, ""
	if err := r.Flush(t.Context(), func(e e2ee.Event) {
		if got++; got == 1 {
			first = e.Detail
		}
	}); err != nil {
		t.Fatal(err)
	}
	// The message that Flush receives may still come in before all are taken.
	if got < most || got > most+1 || first != fmt.Sprint(all-most) && first != fmt.Sprint(all-most+1) {
		t.Errorf("got %d events from %s, want the newest %d", got, first, most)
	}
}

// listening is wire that tells when it begins to receive.
type listening struct {
	wire
	began chan struct{}
}

func (l *listening) Receive(ctx context.Context, st client.Store) (string, error) {
	l.began <- struct{}{}
	return l.wire.Receive(ctx, st)
}

// TestRunInterruptsWait: Run does not wait until a Wait has received something.
func TestRunInterruptsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &listening{wire{in: make(chan string)}, make(chan struct{}, 10)}
		r := newRunner(l, hooks{})
		waited := make(chan error, 1)
		go func() { waited <- r.Wait(t.Context(), "waiting", holds("word")) }()
		<-l.began
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, nil) }()
		if err := r.AwaitRun(t.Context(), "running", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		<-l.began
		l.in <- "word"
		if err := <-waited; err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWaitOutlivesRun: a wait that Run served receives by itself when Run has
// ended.
func TestWaitOutlivesRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &listening{wire{in: make(chan string)}, make(chan struct{}, 10)}
		r := newRunner(l, hooks{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, nil) }()
		<-l.began
		waited := make(chan error, 1)
		go func() { waited <- r.Wait(t.Context(), "waiting", holds("word")) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		<-l.began
		l.in <- "word"
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

// TestServerSaysWhenToComeBack: the wait that a server asks for is the wait,
// shorter or longer than the loop's own, and bounded.
func TestServerSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: 10 * time.Millisecond,
		40 * time.Second:      40 * time.Second,
		10 * time.Hour:        15 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			limited := &client.RetryError{After: asked, Err: quinta.E(quinta.KindLimited, "asking", "too fast")}
			waits := make(chan time.Duration, 10)
			l := &slow{wire: wire{in: make(chan string, 1), fail: func(_ string, try int) error {
				if try == 1 {
					return limited
				}
				return nil
			}}, err: limited}
			p := parts{Machine: echo{}, Link: l, Store: memory.New(), Env: env, Trouble: func(_ error, wait time.Duration) { waits <- wait }}
			loop := client.NewLoop(p)
			send(t, loop, "1")
			l.in <- "word"
			began := time.Now()
			if _, err := loop.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, took := <-waits, time.Since(began); got != want || took != want {
				t.Errorf("receiving, asked for %s: got %s and %s, want %s", asked, got, took, want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			go loop.Run(ctx)
			if got := <-waits; got != want {
				t.Errorf("sending, asked for %s: got %s, want %s", asked, got, want)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// slow is wire whose first Receive fails.
type slow struct {
	wire
	err error
}

func (s *slow) Receive(ctx context.Context, st client.Store) (string, error) {
	if err := s.err; err != nil {
		s.err = nil
		return "", err
	}
	return s.wire.Receive(ctx, st)
}
