package key

import (
	"errors"
	"fmt"
	"io"
)

// Size is the length of every key of this package, private, public or
// symmetric, in bytes. Ed25519 private keys count as their seed.
const Size = 32

// SignatureSize is the length of an Ed25519 signature in bytes.
const SignatureSize = 64

var (
	// ErrMalformed is returned for a key that is not of the right length or
	// not valid text. It never says what was read.
	ErrMalformed = errors.New("malformed key")
	// ErrWeak is returned for a public key of small order, with which an
	// agreement or a signature would prove nothing.
	ErrWeak = errors.New("weak key")
	// ErrSecret is returned where a private key would be marshalled, or read
	// by a decoder that does not know that it reads a secret.
	ErrSecret = errors.New("private keys are not marshalled")
)

const redactedText = "[redacted]"

// redacted gives a private type its manners. It makes the type that embeds it
// incomparable, and prints instead of it.
type redacted struct{ _ [0]func() }

// String returns "[redacted]".
func (redacted) String() string { return redactedText }

// GoString returns "[redacted]".
func (redacted) GoString() string { return redactedText }

// Format writes "[redacted]" whatever the verb.
func (redacted) Format(s fmt.State, _ rune) { io.WriteString(s, redactedText) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redactedText + `"`), nil }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }

// MarshalBinary returns [ErrSecret].
func (redacted) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// UnmarshalJSON returns [ErrSecret].
func (*redacted) UnmarshalJSON([]byte) error { return ErrSecret }

// UnmarshalText returns [ErrSecret].
func (*redacted) UnmarshalText([]byte) error { return ErrSecret }

// UnmarshalBinary returns [ErrSecret].
func (*redacted) UnmarshalBinary([]byte) error { return ErrSecret }

// A box holds the secret of a private key where fmt does not find it. A struct
// that has a private key in an unexported field is printed field by field
// without any method being asked, and a pointer is followed for a wrong verb;
// a function is never more than an address.
type box[S any] func() *S

// seal puts s into a box.
func seal[S any](s *S) box[S] { return func() *S { return s } }

// open returns what is in the box, or nil.
func (b box[S]) open() *S {
	if b == nil {
		return nil
	}
	return b()
}

// random reads the bytes of a new secret.
func random(rand io.Reader, role string) ([Size]byte, error) {
	var b [Size]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		clear(b[:])
		return b, fmt.Errorf("key: generating a %s: %w", role, err)
	}
	return b, nil
}

// sized copies b, which must be Size bytes long.
func sized(b []byte, role string) ([Size]byte, error) {
	if len(b) != Size {
		return [Size]byte{}, malformed(role)
	}
	return [Size]byte(b), nil
}

func malformed(role string) error { return fmt.Errorf("key: %w: %s", ErrMalformed, role) }
