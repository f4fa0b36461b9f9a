// Package redact makes types that hold secrets safe to handle: they print as
// "[redacted]", they do not compare with ==, and they refuse to be marshalled
// by mistake. Embed [Manners] and keep the secret in a [Box].
package redact

import (
	"errors"
	"fmt"
	"io"
)

// ErrSecret is returned where a secret would be marshalled as binary, or read
// by a decoder that does not know that it is a secret.
var ErrSecret = errors.New("a secret is not marshalled")

const text = "[redacted]"

// Manners makes the type that embeds it incomparable, and prints instead of
// it: "[redacted]" for every verb of fmt, in JSON, as text, and so in slog.
type Manners struct{ _ [0]func() }

// String returns "[redacted]".
func (Manners) String() string { return text }

// GoString returns "[redacted]".
func (Manners) GoString() string { return text }

// Format writes "[redacted]" whatever the verb.
func (Manners) Format(s fmt.State, _ rune) { io.WriteString(s, text) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Manners) MarshalJSON() ([]byte, error) { return []byte(`"` + text + `"`), nil }

// MarshalText returns "[redacted]".
func (Manners) MarshalText() ([]byte, error) { return []byte(text), nil }

// MarshalBinary returns [ErrSecret].
func (Manners) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// UnmarshalJSON returns [ErrSecret].
func (*Manners) UnmarshalJSON([]byte) error { return ErrSecret }

// UnmarshalText returns [ErrSecret].
func (*Manners) UnmarshalText([]byte) error { return ErrSecret }

// UnmarshalBinary returns [ErrSecret].
func (*Manners) UnmarshalBinary([]byte) error { return ErrSecret }

// A Box holds a secret where fmt does not find it. fmt prints a struct with a
// secret in an unexported field field by field, without calling any method,
// and follows a pointer for a verb that does not fit; of a function, it prints
// only the address.
type Box[S any] func() *S

// Seal puts s into a box.
func Seal[S any](s *S) Box[S] { return func() *S { return s } }

// Open returns what is in the box, or nil for the zero box.
func (b Box[S]) Open() *S {
	if b == nil {
		return nil
	}
	return b()
}
