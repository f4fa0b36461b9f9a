package main

import (
	"context"
	"errors"
	"os"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

// The exit codes. Scripts rely on them; doc/json.md lists them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitMisused    = 2
	exitNetwork    = 3 // the server does not answer, or asks to try again later
	exitLogin      = 4 // not logged in, or no longer
	exitNotTrusted = 5 // a key or an identity is not the expected one
	exitCannotRead = 6 // a message cannot be read
	exitNotFound   = 7 // no such room, message, device or account
)

// misused makes a misuse without a hint of its own.
func misused(format string, args ...any) error { return cli.Misused(format, args...) }

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

// verdict returns the exit code for err, and a hint that says what to do.
func verdict(err error) (code int, hint string) {
	if m, ok := errors.AsType[*cli.Misuse](err); ok {
		return exitMisused, m.Hint
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code, f.hint
	}
	switch {
	case errors.Is(err, sqlite.ErrLocked):
		return exitFailed, "another quinta is running for this account: stop it, or log in again with another --home"
	case errors.Is(err, e2ee.ErrIdentityChanged):
		return exitNotTrusted, "compare keys with 'quinta verify USER', or accept the new identity without comparing with 'quinta devices acknowledge USER'"
	case errors.Is(err, client.ErrMismatch):
		return exitNotTrusted, "do not send anything secret: find out over another channel why the two sides differ"
	case errors.Is(err, sqlite.ErrKey):
		return exitFailed, "use the passphrase or key file that the account was created with"
	case errors.Is(err, context.DeadlineExceeded):
		return exitNetwork, "the server took too long: try again, or set a longer --timeout"
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound, ""
	}
	switch quinta.KindOf(err) {
	case quinta.KindUnauthenticated:
		return exitLogin, "log in again with 'quinta login'"
	case quinta.KindUnavailable, quinta.KindLimited:
		return exitNetwork, "check the address, and that the server is running; 'quinta doctor' looks more closely"
	case quinta.KindNotFound:
		return exitNotFound, ""
	}
	return exitFailed, ""
}
