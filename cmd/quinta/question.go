package main

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta/client"
)

// questions are how each kind of question is put, and the environment variable
// that answers it.
var questions = map[client.QuestionKind]struct{ prompt, variable string }{
	client.AskPassword:       {"password of ", "QUINTA_PASSWORD"},
	client.AskSecondFactor:   {"code of the second factor of ", "QUINTA_SECOND_FACTOR"},
	client.AskCode:           {"login code of ", "QUINTA_CODE"},
	client.AskSecondPassword: {"second password of ", "QUINTA_SECOND_PASSWORD"},
	client.AskKeyPassword:    {"password of the encryption keys of ", "QUINTA_KEY_PASSWORD"},
}

// answer puts a question of a login to the user. A password is read from
// passwordFD if that is not negative.
func (a *app) answer(q client.Question, user string, passwordFD int) (client.Secret, error) {
	how, ok := questions[q.Kind]
	if !ok {
		return client.Secret{}, nil // the login fails with the name of the question
	}
	prompt := how.prompt + oneLine(user)
	if q.Text != "" {
		prompt += " (" + oneLine(q.Text) + ")"
	}
	fd := -1
	if q.Kind == client.AskPassword {
		fd = passwordFD
	}
	return a.ask(prompt, fd, how.variable, false)
}

// A clock ends a context after the time that the command has for the server.
type clock struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	left   time.Duration
	since  time.Time
}

// paused is limited with a clock that stands still while the user types.
func (a *app) paused(ctx context.Context) (context.Context, *clock) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{cancel: cancel, left: a.opt.timeout, since: time.Now()}
	c.timer = time.AfterFunc(c.left, func() { cancel(context.DeadlineExceeded) })
	return timed{ctx}, c
}

// A timed context ends with the error that one with a deadline ends with.
type timed struct{ context.Context }

// Err returns why the context ended.
func (t timed) Err() error {
	if t.Context.Err() == nil {
		return nil
	}
	return context.Cause(t.Context)
}

// stop stops the clock until the function that it returns is called.
func (c *clock) stop() (resume func()) {
	if !c.timer.Stop() {
		return func() {} // it has ended
	}
	c.left -= time.Since(c.since)
	return func() {
		c.since = time.Now()
		c.timer.Reset(max(0, c.left))
	}
}

func (c *clock) end() {
	c.timer.Stop()
	c.cancel(nil)
}
