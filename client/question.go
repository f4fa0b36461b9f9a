package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta"
)

// A QuestionKind says what a login asks for.
type QuestionKind string

// The kinds of question.
const (
	// AskPassword asks for the password of the account.
	AskPassword QuestionKind = "password"
	// AskSecondFactor asks for a code that a second device shows, such as a
	// one-time password.
	AskSecondFactor QuestionKind = "second-factor"
	// AskCode asks for a code that the service sent or the operator reads out.
	AskCode QuestionKind = "code"
	// AskSecondPassword asks for the password that an account wants after a
	// code.
	AskSecondPassword QuestionKind = "second-password"
	// AskKeyPassword asks for the password that opens the account's own
	// end-to-end keys. It is not sent to the server.
	AskKeyPassword QuestionKind = "key-password"
)

// QuestionKinds are all kinds.
var QuestionKinds = []QuestionKind{AskPassword, AskSecondFactor, AskCode, AskSecondPassword, AskKeyPassword}

// A Question is what a login asks for on the way.
type Question struct {
	Kind QuestionKind
	// Text says in one line what is wanted, such as where a code was sent. It
	// is printable, and may be empty.
	Text string
}

// ErrUnanswered is wrapped by the error of a login whose question was not
// answered.
var ErrUnanswered = errors.New("client: a question of the login has no answer")

// Answer returns the answer to a question: Password for one of AskPassword, if
// it is not empty, or else what Ask says. A question that has no answer is an
// error of KindUnauthenticated that names it and wraps ErrUnanswered.
func (c Credentials) Answer(ctx context.Context, q Question) (Secret, error) {
	if q.Kind == AskPassword && !c.Password.Empty() {
		return c.Password, nil
	}
	if c.Ask != nil {
		s, err := c.Ask(ctx, q)
		if err != nil {
			return Secret{}, err
		}
		if !s.Empty() {
			return s, nil
		}
	}
	text := string(q.Kind)
	if q.Text != "" {
		text += " (" + q.Text + ")"
	}
	return Secret{}, &quinta.Error{Kind: quinta.KindUnauthenticated, Op: "logging in", Err: fmt.Errorf("%w: the %s", ErrUnanswered, text)}
}
