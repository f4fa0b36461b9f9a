package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/client"
)

// TestQuestions: every kind of question can be put, each with a variable of its
// own, and the variable answers it.
func TestQuestions(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range client.QuestionKinds {
		how, ok := questions[k]
		if !ok || how.prompt == "" || seen[how.variable] {
			t.Errorf("%s: got %+v, want a prompt and a variable of its own", k, how)
		}
		if want := "QUINTA_" + strings.ToUpper(strings.ReplaceAll(string(k), "-", "_")); how.variable != want {
			t.Errorf("%s: got %s, want %s", k, how.variable, want)
		}
		seen[how.variable] = true
		a := &app{in: strings.NewReader(""), err: io.Discard, getenv: func(name string) string {
			if name == how.variable {
				return "the answer"
			}
			return ""
		}}
		if s, err := a.answer(client.Question{Kind: k}, "alice", -1); err != nil || s.Reveal() != "the answer" {
			t.Errorf("%s: got %v, want the answer of the variable", k, err)
		}
		a.getenv = func(string) string { return "" }
		if _, err := a.answer(client.Question{Kind: k, Text: "sent to\x1b your phone"}, "alice", -1); err == nil || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "your phone") {
			t.Errorf("%s: got %v, want an error that says what is missing", k, err)
		}
	}
}

// TestClockStandsStill: the time of a command does not run while the user
// types, and runs out afterwards.
func TestClockStandsStill(t *testing.T) {
	t.Parallel()
	a := &app{}
	a.opt.timeout = 50 * time.Millisecond
	ctx, c := a.paused(t.Context())
	defer c.end()
	resume := c.stop()
	select {
	case <-ctx.Done():
		t.Fatal("the time ran while the user typed")
	case <-time.After(150 * time.Millisecond):
	}
	resume()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", ctx.Err())
	}
}
