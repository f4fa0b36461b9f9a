package key

import (
	"crypto/subtle"
	"io"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/redact"
)

// A Symmetric is a key of 32 random bytes.
type Symmetric[R SymmetricRole] struct {
	redacted
	secret redact.Box[symmetricSecret]
}

type symmetricSecret struct {
	b     [Size]byte
	wiped bool
}

func symmetricName[R SymmetricRole]() string {
	var r R
	return r.symmetricRole()
}

// GenerateSymmetric makes a new key from 32 bytes of rand.
func GenerateSymmetric[R SymmetricRole](rand io.Reader) (Symmetric[R], error) {
	b, err := random(rand, symmetricName[R]())
	if err != nil {
		return Symmetric[R]{}, err
	}
	defer clear(b[:])
	return NewSymmetric[R](b[:])
}

// NewSymmetric returns the key of 32 bytes. It keeps a copy.
func NewSymmetric[R SymmetricRole](b []byte) (Symmetric[R], error) {
	raw, err := sized(b, symmetricName[R]())
	if err != nil {
		return Symmetric[R]{}, err
	}
	return Symmetric[R]{secret: redact.Seal(&symmetricSecret{b: raw})}, nil
}

// ParseSymmetric returns the key of 32 bytes in base64.
func ParseSymmetric[R SymmetricRole](text string) (Symmetric[R], error) {
	b, err := base64text.DecodeSecret(text)
	if err != nil {
		return Symmetric[R]{}, malformed(symmetricName[R]())
	}
	defer clear(b)
	return NewSymmetric[R](b)
}

// IsZero reports whether k holds no key, or a wiped one.
func (k Symmetric[R]) IsZero() bool { return k.secret == nil || k.secret().wiped }

// Secret returns a copy of the 32 bytes. The caller wipes it.
func (k Symmetric[R]) Secret() []byte {
	if k.IsZero() {
		panic("key: use of a zero or wiped " + symmetricName[R]())
	}
	b := k.secret().b
	return b[:]
}

// Equal reports in constant time whether k and other are the same key.
func (k Symmetric[R]) Equal(other Symmetric[R]) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() && other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.secret().b[:], other.secret().b[:]) == 1
}

// Wipe overwrites the key, in all copies of k.
func (k Symmetric[R]) Wipe() {
	if s := k.secret.Open(); s != nil {
		clear(s.b[:])
		s.wiped = true
	}
}
