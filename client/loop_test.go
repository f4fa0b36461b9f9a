package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// echo is a machine without any cryptography: it keeps an outbox and what
// came, so that the loop's own promises can be seen.
type echo struct{}

func (echo) Send(tx e2ee.Tx, m quinta.Message) error {
	return tx.Put("out/"+string(m.Txn), []byte(m.Text))
}

func (echo) Receive(tx e2ee.Tx, in string) ([]e2ee.Event, error) {
	if in == "bad" {
		return nil, errors.New("the machine fails")
	}
	return []e2ee.Event{{Kind: e2ee.EventMessage, Message: quinta.Message{Text: in}}}, tx.Put("in/"+in, nil)
}

func (echo) Outgoing(tx e2ee.Tx) ([]string, error) {
	var out []string
	for e, err := range tx.All("out/") {
		if err != nil {
			return nil, err
		}
		out = append(out, strings.TrimPrefix(e.Key, "out/")+"="+string(e.Value))
	}
	return out, nil
}

func (echo) Done(tx e2ee.Tx, req, ans string) ([]e2ee.Event, error) {
	txn, _, _ := strings.Cut(req, "=")
	return []e2ee.Event{{Kind: e2ee.EventSent, Message: quinta.Message{Txn: quinta.TxnID(txn), Text: ans}}}, tx.Delete("out/" + txn)
}

// wire is a link that fails as often as it is told.
type wire struct {
	mu   sync.Mutex
	did  []string
	fail func(req string, try int) error
	in   chan string
}

func (w *wire) Do(ctx context.Context, req string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, req)
	if w.fail != nil {
		if err := w.fail(req, len(w.did)); err != nil {
			return "", err
		}
	}
	return "ok", nil
}

func (w *wire) Receive(ctx context.Context, _ client.Store) (string, error) {
	select {
	case s, ok := <-w.in:
		if !ok {
			return "", quinta.E(quinta.KindUnauthenticated, "sync", "signed out")
		}
		return s, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

type (
	loop  = client.Loop
	parts = client.Parts[string, string, string]
)

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// newLoop makes a loop with what p adds to the parts that all have.
func newLoop(w *wire, st client.Store, p parts) *loop {
	p.Machine, p.Link, p.Store, p.Env = echo{}, w, st, env
	return client.NewLoop(p)
}

// A sender takes messages: a loop or a runner.
type sender interface {
	Send(ctx context.Context, m quinta.Message) error
}

func send(t *testing.T, l sender, txn string) {
	t.Helper()
	if err := l.Send(t.Context(), quinta.Message{Txn: quinta.TxnID(txn), Text: "hi"}); err != nil {
		t.Fatal(err)
	}
}

func TestRepeatsTheSameBytes(t *testing.T) {
	t.Parallel()
	w := &wire{fail: func(_ string, try int) error {
		if try < 3 {
			return &client.RetryError{After: time.Millisecond, Err: quinta.E(quinta.KindLimited, "send", "too fast")}
		}
		return nil
	}}
	troubles := 0
	l := newLoop(w, memory.New(), parts{Trouble: func(error, time.Duration) { troubles++ }})
	send(t, l, "1")
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(w.did) != "[1=hi 1=hi 1=hi]" || troubles != 2 {
		t.Errorf("got %v with %d troubles, want the same request three times", w.did, troubles)
	}
}

func TestOutboxSurvives(t *testing.T) {
	t.Parallel()
	st := memory.New()
	w := &wire{fail: func(string, int) error { return errors.New("the process dies here") }}
	l := newLoop(w, st, parts{})
	send(t, l, "1")
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("an error that is no reason to try again was hidden")
	}
	w.fail = nil
	if err := newLoop(w, st, parts{}).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(w.did) != "[1=hi 1=hi]" {
		t.Errorf("got %v, want the request again after the restart", w.did)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	w := &wire{in: make(chan string)}
	st := memory.New()
	got := make(chan string, 10)
	kept := 0
	l := newLoop(w, st, parts{
		Events: func(es []e2ee.Event) {
			for _, e := range es {
				got <- fmt.Sprint(e.Kind, e.Message.Text, e.Message.Txn)
			}
		},
		Commit: func(tx e2ee.Tx, es []e2ee.Event) error { kept += len(es); return nil },
	})
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	w.in <- "hello"
	if g := <-got; g != fmt.Sprint(e2ee.EventMessage, "hello") {
		t.Errorf("got %q", g)
	}
	send(t, l, "7")
	if g := <-got; g != fmt.Sprint(e2ee.EventSent, "ok", "7") {
		t.Errorf("got %q", g)
	}
	close(w.in)
	if err := <-done; quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want that the device was signed out", err)
	}
	if kept != 2 {
		t.Errorf("the commit hook saw %d events, want 2", kept)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	w := &wire{in: make(chan string), fail: func(string, int) error { return quinta.E(quinta.KindUnavailable, "send", "away") }}
	tried := make(chan struct{}, 10)
	l := newLoop(w, memory.New(), parts{Trouble: func(error, time.Duration) { tried <- struct{}{} }})
	send(t, l, "1")
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	<-tried
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestFailedStepIsUndone(t *testing.T) {
	t.Parallel()
	st := memory.New()
	told := 0
	l := newLoop(&wire{}, st, parts{
		Events: func([]e2ee.Event) { told++ },
		Commit: func(tx e2ee.Tx, es []e2ee.Event) error {
			if es[0].Message.Text == "no room" {
				return errors.New("cannot keep it")
			}
			return nil
		},
	})
	for _, in := range []string{"bad", "no room"} {
		err := l.Do(t.Context(), func(tx e2ee.Tx) ([]e2ee.Event, error) { return echo{}.Receive(tx, in) })
		if err == nil {
			t.Errorf("%s: no error", in)
		}
	}
	if err := st.View(t.Context(), func(tx e2ee.Tx) error {
		for e, err := range tx.All("") {
			t.Errorf("kept %q (%v)", e.Key, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if told != 0 {
		t.Error("the user was told of what was not kept")
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := client.NewSecret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "in", client.Credentials{Password: s, Token: s})
	out := fmt.Sprintf("%v %+v %#v %s %q %x %v", s, s, s, s, s, s, client.Credentials{Password: s}) + log.String()
	if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("a secret was printed: %s", out)
	}
	if _, err := json.Marshal(map[string]any{"s": s}); err == nil {
		t.Error("a secret was marshalled")
	}
	if s.Reveal() != "hunter2" || s.Empty() || !(client.Secret{}).Empty() {
		t.Error("the secret is lost")
	}
}
