package key

import (
	"crypto/ed25519"
	"crypto/subtle"
	"fmt"
	"io"

	"filippo.io/edwards25519"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/redact"
)

// A SigningPrivate is the private half of an Ed25519 key.
type SigningPrivate[R SigningRole] struct {
	redacted
	secret redact.Box[signingSecret]
}

type signingSecret struct{ priv ed25519.PrivateKey }

func signingName[R SigningRole]() string {
	var r R
	return r.signingRole()
}

// GenerateSigning makes a new key from 32 bytes of rand.
func GenerateSigning[R SigningRole](rand io.Reader) (SigningPrivate[R], error) {
	seed, err := random(rand, signingName[R]())
	if err != nil {
		return SigningPrivate[R]{}, err
	}
	defer clear(seed[:])
	return NewSigningPrivate[R](seed[:])
}

// NewSigningPrivate returns the key of a 32-byte seed (RFC 8032, section
// 5.1.5). It keeps a copy.
func NewSigningPrivate[R SigningRole](seed []byte) (SigningPrivate[R], error) {
	if len(seed) != Size {
		return SigningPrivate[R]{}, malformed(signingName[R]())
	}
	return SigningPrivate[R]{secret: redact.Seal(&signingSecret{ed25519.NewKeyFromSeed(seed)})}, nil
}

// ParseSigningPrivate returns the key of a seed in base64.
func ParseSigningPrivate[R SigningRole](text string) (SigningPrivate[R], error) {
	seed, err := base64text.DecodeSecret(text)
	if err != nil {
		return SigningPrivate[R]{}, malformed(signingName[R]())
	}
	defer clear(seed)
	return NewSigningPrivate[R](seed)
}

func (k SigningPrivate[R]) key() ed25519.PrivateKey {
	if k.IsZero() {
		panic("key: use of a zero or wiped " + signingName[R]())
	}
	return k.secret().priv
}

// IsZero reports whether k holds no key, or a wiped one.
func (k SigningPrivate[R]) IsZero() bool { return k.secret == nil || k.secret().priv == nil }

// Public returns the public half.
func (k SigningPrivate[R]) Public() SigningPublic[R] {
	return SigningPublic[R]{b: [Size]byte(k.key()[Size:])}
}

// Sign returns the 64-byte Ed25519 signature of message.
func (k SigningPrivate[R]) Sign(message []byte) []byte { return ed25519.Sign(k.key(), message) }

// Secret returns a copy of the 32-byte seed. The caller wipes it.
func (k SigningPrivate[R]) Secret() []byte { return k.key().Seed() }

// Equal reports in constant time whether k and other are the same key.
func (k SigningPrivate[R]) Equal(other SigningPrivate[R]) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() && other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.secret().priv, other.secret().priv) == 1
}

// Wipe overwrites the key, in all copies of k.
func (k SigningPrivate[R]) Wipe() {
	if s := k.secret.Open(); s != nil {
		clear(s.priv)
		s.priv = nil
	}
}

// A SigningPublic is the public half of an Ed25519 key: a point in canonical
// form and not of small order, or the zero value.
type SigningPublic[R SigningRole] struct{ b [Size]byte }

// NewSigningPublic returns the key with the 32-byte encoding b.
func NewSigningPublic[R SigningRole](b []byte) (SigningPublic[R], error) {
	raw, err := sized(b, signingName[R]())
	if err != nil {
		return SigningPublic[R]{}, err
	}
	var p edwards25519.Point
	if _, err := p.SetBytes(b); err != nil || !canonicalY(&raw) {
		return SigningPublic[R]{}, malformed(signingName[R]())
	}
	if p.MultByCofactor(&p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return SigningPublic[R]{}, fmt.Errorf("key: %w: %s", ErrWeak, signingName[R]())
	}
	return SigningPublic[R]{raw}, nil
}

// canonicalY reports whether the y-coordinate of an encoded point is below 2^255
// - 19. The other way in which an encoding can be non-canonical is a sign on x =
// 0; the two points with that x are of small order. So there is no need to encode
// the point again, which costs an inversion for each key that is read.
func canonicalY(b *[Size]byte) bool {
	if b[Size-1]&0x7f != 0x7f || b[0] < 0xed {
		return true
	}
	for _, c := range b[1 : Size-1] {
		if c != 0xff {
			return true
		}
	}
	return false
}

// ParseSigningPublic returns the key with the base64 encoding text.
func ParseSigningPublic[R SigningRole](text string) (SigningPublic[R], error) {
	b, err := base64text.Decode(text)
	if err != nil {
		return SigningPublic[R]{}, malformed(signingName[R]())
	}
	return NewSigningPublic[R](b)
}

// Verify reports whether signature is a signature of message by p. A
// signature whose S is not below the group order is refused (RFC 8032,
// section 5.1.7), so that no one can make a second one from the first.
func (p SigningPublic[R]) Verify(message, signature []byte) bool {
	return !p.IsZero() && len(signature) == SignatureSize && ed25519.Verify(p.b[:], message, signature)
}

// IsZero reports whether p is the zero value, which is not a key.
func (p SigningPublic[R]) IsZero() bool { return p.b == [Size]byte{} }

// Bytes returns the 32-byte encoding.
func (p SigningPublic[R]) Bytes() []byte { return p.b[:] }

// String returns the encoding in unpadded base64.
func (p SigningPublic[R]) String() string { return base64text.Encode(p.b[:]) }

// MarshalText returns the encoding in unpadded base64.
func (p SigningPublic[R]) MarshalText() ([]byte, error) { return base64text.Append(nil, p.b[:]), nil }

// UnmarshalText reads what MarshalText writes, and its padded form.
func (p *SigningPublic[R]) UnmarshalText(text []byte) error {
	var b [Size]byte
	if base64text.DecodeExactly(b[:], text) != nil {
		return malformed(signingName[R]())
	}
	q, err := NewSigningPublic[R](b[:])
	if err != nil {
		return err
	}
	*p = q
	return nil
}
