package key

import (
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/redact"
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
	ErrSecret = redact.ErrSecret
)

// redacted is embedded in every private type.
type redacted = redact.Manners

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
