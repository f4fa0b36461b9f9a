package client_test

import (
	"context"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

type (
	runner = client.Runner
	hooks  = client.Hooks[string]
)

func newRunner(l client.Link[string, string, string], h hooks) *runner {
	return client.NewRunner(parts{Machine: echo{}, Link: l, Store: memory.New(), Env: env}, h)
}

// holds is the condition that something came.
func holds(what string) func(tx e2ee.Tx) (bool, error) {
	return func(tx e2ee.Tx) (bool, error) {
		b, err := tx.Get("in/" + what)
		return b != nil, err
	}
}

// TestRunnerOneAtATime: of two that would receive one is refused; events come
// in their order, those from before Run included.
func TestRunnerOneAtATime(t *testing.T) {
	t.Parallel()
	w := &wire{in: make(chan string, 10)}
	beside := make(chan struct{})
	r := newRunner(w, hooks{Beside: []func(context.Context){func(ctx context.Context) { <-ctx.Done(); close(beside) }}})
	r.Give([]e2ee.Event{{Kind: e2ee.EventMessage, Message: quinta.Message{Text: "from before"}}})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string, 10)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(e e2ee.Event) { got <- e.Message.Text }) }()
	w.in <- "one"
	w.in <- "two"
	var texts []string
	for range 3 {
		texts = append(texts, <-got)
	}
	if want := []string{"from before", "one", "two"}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	if err := r.Run(ctx, nil); quinta.KindOf(err) != quinta.KindConflict {
		t.Errorf("got %v, want that it runs already", err)
	}
	if err := r.Flush(ctx, nil); quinta.KindOf(err) != quinta.KindConflict {
		t.Errorf("got %v, want that it runs already", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want the end of the context to be no error", err)
	}
	<-beside
}

// TestRunnerWaits: a waiting caller receives by itself while no one runs, is
// woken when others receive, and yields to Run.
func TestRunnerWaits(t *testing.T) {
	t.Parallel()
	w := &wire{in: make(chan string, 10)}
	r := newRunner(w, hooks{})
	send(t, r, "due")
	w.in <- "first"
	if err := r.Wait(t.Context(), "waiting", holds("first")); err != nil {
		t.Fatal(err)
	}
	if len(w.did) != 1 {
		t.Errorf("got %q, want what was due to go out first", w.did)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(ctx, "waiting", holds("second")) }()
	done := make(chan error, 1)
	got := make(chan e2ee.Event, 10)
	go func() { done <- r.Run(ctx, func(e e2ee.Event) { got <- e }) }()
	w.in <- "second"
	if err := <-waited; err != nil {
		t.Errorf("got %v, want it to come", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := r.Wait(over, "waiting", holds("never")); err == nil {
		t.Error("got no error for a wait whose context is over")
	}
}

// TestRunnerFlush: it catches up until nothing more comes, carries the outbox
// out, and hands out what the filter leaves.
func TestRunnerFlush(t *testing.T) {
	t.Parallel()
	w := &wire{in: make(chan string, 10)}
	may := []bool{}
	r := newRunner(w, hooks{
		Waits: func(m bool) { may = append(may, m) },
		Filter: func(list []e2ee.Event) []e2ee.Event {
			return slices.DeleteFunc(list, func(e e2ee.Event) bool { return e.Message.Text == "hidden" })
		},
		CaughtUp: func(in string) bool { return in == "last" },
	})
	send(t, r, "a")
	for _, s := range []string{"one", "hidden", "last"} {
		w.in <- s
	}
	var texts []string
	if err := r.Flush(t.Context(), func(e e2ee.Event) { texts = append(texts, e.Message.Text) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "last", "ok"}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	if !slices.Equal(may, []bool{false}) || len(w.did) != 1 {
		t.Errorf("got waits %v and calls %q, want no waiting and one call", may, w.did)
	}
}
