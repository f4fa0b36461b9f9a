package client

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a password, passphrase or token that a person has typed. It
// does not print. Reveal gives the text to the one place that needs it.
type Secret struct {
	_ [0]func()
	s string
}

// NewSecret wraps a text.
func NewSecret(s string) Secret { return Secret{s: s} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.s }

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.s == "" }

// String returns "[redacted]".
func (Secret) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (Secret) GoString() string { return "[redacted]" }

// Format writes "[redacted]" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// LogValue keeps the text out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText fails: a secret is never part of anything that is written.
func (Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("client: a secret is not for output")
}

// MarshalJSON fails: a secret is never part of anything that is written.
func (Secret) MarshalJSON() ([]byte, error) {
	return nil, errors.New("client: a secret is not for output")
}
