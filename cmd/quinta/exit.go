package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
)

// The exit codes. Scripts rely on them; doc/json.md lists them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitMisused    = 2
	exitNetwork    = 3 // the server does not answer, or asks to come later
	exitLogin      = 4 // not logged in, or not any more
	exitNotTrusted = 5 // a key or an identity is not the one it should be
	exitCannotRead = 6 // a message cannot be read
	exitNotFound   = 7 // no such room, message, device, account
)

// A misuse is an error of the person who typed the command.
type misuse struct{ text, hint string }

func (m *misuse) Error() string { return m.text }

// misused makes a misuse without a hint of its own.
func misused(format string, args ...any) error { return &misuse{text: fmt.Sprintf(format, args...)} }

// A failure is an error with its own exit code and hint.
type failure struct {
	code int
	hint string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed gives err an exit code and a hint.
func failed(code int, hint string, err error) error { return &failure{code, hint, err} }

// verdict says what a program ends with for err, and what to do about it.
func verdict(err error) (code int, hint string) {
	if m, ok := errors.AsType[*misuse](err); ok {
		return exitMisused, m.hint
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code, f.hint
	}
	switch {
	case errors.Is(err, sqlite.ErrLocked):
		return exitFailed, "another quinta is running for this account: end it, or use another device with its own login"
	case errors.Is(err, e2ee.ErrIdentityChanged):
		return exitNotTrusted, "compare keys with 'quinta verify USER', or accept the new identity without comparing with 'quinta devices acknowledge USER'"
	case errors.Is(err, client.ErrMismatch):
		return exitNotTrusted, "do not send anything secret: find out over another channel why the two sides differ"
	case errors.Is(err, sqlite.ErrKey):
		return exitFailed, "give the passphrase or key with which the account was made"
	case errors.Is(err, context.DeadlineExceeded):
		return exitNetwork, "the server took too long: try again, or give a longer --timeout"
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound, ""
	}
	switch quinta.KindOf(err) {
	case quinta.KindUnauthenticated:
		return exitLogin, "log in again with 'quinta login'"
	case quinta.KindUnavailable, quinta.KindLimited:
		return exitNetwork, "is the address right, and is the server running? 'quinta doctor' looks closer"
	case quinta.KindNotFound:
		return exitNotFound, ""
	}
	return exitFailed, ""
}
