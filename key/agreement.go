package key

import (
	"crypto/ecdh"
	"crypto/subtle"
	"fmt"
	"io"
	"sync/atomic"

	"filippo.io/edwards25519"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/redact"
)

// An AgreementPrivate is the private half of an X25519 key. It may be used by
// several goroutines at once, except for Wipe.
type AgreementPrivate[R AgreementRole] struct {
	redacted
	secret redact.Box[agreementSecret]
}

type agreementSecret struct {
	scalar [Size]byte
	wiped  bool
	// public and parsed are made when they are first wanted. Parsing costs a
	// ladder, as much as an agreement; it gives the public key with it. The
	// public key alone is three times cheaper on the Edwards curve.
	public atomic.Pointer[[Size]byte]
	parsed atomic.Pointer[ecdh.PrivateKey]
}

func agreementName[R AgreementRole]() string {
	var r R
	return r.agreementRole()
}

// GenerateAgreement makes a new key from 32 bytes of rand.
func GenerateAgreement[R AgreementRole](rand io.Reader) (AgreementPrivate[R], error) {
	b, err := random(rand, agreementName[R]())
	if err != nil {
		return AgreementPrivate[R]{}, err
	}
	defer clear(b[:])
	return NewAgreementPrivate[R](b[:])
}

// NewAgreementPrivate returns the key of 32 random bytes, from which RFC 7748
// makes the scalar. It keeps a copy.
func NewAgreementPrivate[R AgreementRole](b []byte) (AgreementPrivate[R], error) {
	scalar, err := sized(b, agreementName[R]())
	if err != nil {
		return AgreementPrivate[R]{}, err
	}
	return AgreementPrivate[R]{secret: redact.Seal(&agreementSecret{scalar: scalar})}, nil
}

// ParseAgreementPrivate returns the key of 32 bytes in base64.
func ParseAgreementPrivate[R AgreementRole](text string) (AgreementPrivate[R], error) {
	b, err := base64text.DecodeSecret(text)
	if err != nil {
		return AgreementPrivate[R]{}, malformed(agreementName[R]())
	}
	defer clear(b)
	return NewAgreementPrivate[R](b)
}

func (k AgreementPrivate[R]) key() *agreementSecret {
	if k.IsZero() {
		panic("key: use of a zero or wiped " + agreementName[R]())
	}
	return k.secret()
}

// IsZero reports whether k holds no key, or a wiped one.
func (k AgreementPrivate[R]) IsZero() bool { return k.secret == nil || k.secret().wiped }

// Public returns the public half.
func (k AgreementPrivate[R]) Public() AgreementPublic[R] {
	s := k.key()
	if p := s.public.Load(); p != nil {
		return AgreementPublic[R]{*p}
	}
	p := publicOf(&s.scalar)
	s.public.Store(&p)
	return AgreementPublic[R]{p}
}

// publicOf multiplies the base point on the Edwards curve, which has a table
// for it, and takes the result over to the Montgomery curve.
func publicOf(b *[Size]byte) [Size]byte {
	s, err := edwards25519.NewScalar().SetBytesWithClamping(b[:])
	if err != nil {
		panic("key: internal error: scalar: " + err.Error())
	}
	return [Size]byte(new(edwards25519.Point).ScalarBaseMult(s).BytesMontgomery())
}

func (s *agreementSecret) ecdh() *ecdh.PrivateKey {
	if p := s.parsed.Load(); p != nil {
		return p
	}
	p, err := ecdh.X25519().NewPrivateKey(s.scalar[:])
	if err != nil {
		panic("key: internal error: parsing an X25519 key: " + err.Error())
	}
	public := [Size]byte(p.PublicKey().Bytes())
	s.public.Store(&public)
	s.parsed.Store(p)
	return p
}

// Secret returns a copy of the 32 bytes. The caller wipes it.
func (k AgreementPrivate[R]) Secret() []byte {
	b := k.key().scalar
	return b[:]
}

// Equal reports in constant time whether k and other are the same key.
func (k AgreementPrivate[R]) Equal(other AgreementPrivate[R]) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() && other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.secret().scalar[:], other.secret().scalar[:]) == 1
}

// Wipe overwrites the key, in all copies of k. The parsed form that the
// standard library keeps is left to the garbage collector.
func (k AgreementPrivate[R]) Wipe() {
	if s := k.secret.Open(); s != nil {
		clear(s.scalar[:])
		s.parsed.Store(nil)
		s.wiped = true
	}
}

// Agree returns the 32 bytes of the X25519 agreement of k and p, or [ErrWeak]
// if p is of small order, so that the result would be all zero. The caller
// wipes the result, and puts it through a key derivation.
func Agree[A, B AgreementRole](k AgreementPrivate[A], p AgreementPublic[B]) ([]byte, error) {
	remote, err := ecdh.X25519().NewPublicKey(p.b[:])
	if err != nil {
		return nil, malformed(agreementName[B]())
	}
	shared, err := k.key().ecdh().ECDH(remote)
	if err != nil {
		return nil, fmt.Errorf("key: %w: %s", ErrWeak, agreementName[B]())
	}
	return shared, nil
}

// An AgreementPublic is the public half of an X25519 key, or the zero value.
type AgreementPublic[R AgreementRole] struct{ b [Size]byte }

// NewAgreementPublic returns the key with the 32-byte encoding b, which is
// not all zero.
func NewAgreementPublic[R AgreementRole](b []byte) (AgreementPublic[R], error) {
	raw, err := sized(b, agreementName[R]())
	if err != nil {
		return AgreementPublic[R]{}, err
	}
	if raw == [Size]byte{} {
		return AgreementPublic[R]{}, fmt.Errorf("key: %w: %s", ErrWeak, agreementName[R]())
	}
	return AgreementPublic[R]{raw}, nil
}

// ParseAgreementPublic returns the key with the base64 encoding text.
func ParseAgreementPublic[R AgreementRole](text string) (AgreementPublic[R], error) {
	b, err := base64text.Decode(text)
	if err != nil {
		return AgreementPublic[R]{}, malformed(agreementName[R]())
	}
	return NewAgreementPublic[R](b)
}

// IsZero reports whether p is the zero value, which is not a key.
func (p AgreementPublic[R]) IsZero() bool { return p.b == [Size]byte{} }

// Bytes returns the 32-byte encoding.
func (p AgreementPublic[R]) Bytes() []byte { return p.b[:] }

// String returns the encoding in unpadded base64.
func (p AgreementPublic[R]) String() string { return base64text.Encode(p.b[:]) }

// MarshalText returns the encoding in unpadded base64.
func (p AgreementPublic[R]) MarshalText() ([]byte, error) {
	return base64text.Append(nil, p.b[:]), nil
}

// UnmarshalText reads what MarshalText writes, and its padded form.
func (p *AgreementPublic[R]) UnmarshalText(text []byte) error {
	var b [Size]byte
	if base64text.DecodeExactly(b[:], text) != nil {
		return malformed(agreementName[R]())
	}
	q, err := NewAgreementPublic[R](b[:])
	if err != nil {
		return err
	}
	*p = q
	return nil
}
