package secretchat

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/redact"
)

// ErrKeySize is returned for a key or an exponent that is not 256 bytes long.
var ErrKeySize = errors.New("secretchat: a key has the wrong length")

// A Secret is the exponent of one side of a key agreement.
type Secret struct {
	redact.Manners
	box redact.Box[[Size]byte]
}

// NewSecret draws an exponent of 2048 bits. server is randomness that a server
// gave, of the same length, or empty; it is mixed in by XOR and so can never
// make the result less random than rand. "Sending a Request".
func NewSecret(rand io.Reader, server []byte) (*Secret, error) {
	var e [Size]byte
	if _, err := io.ReadFull(rand, e[:]); err != nil {
		return nil, fmt.Errorf("secretchat: drawing a secret: %w", err)
	}
	if len(server) != 0 {
		if len(server) != Size {
			return nil, ErrKeySize
		}
		subtle.XORBytes(e[:], e[:], server)
	}
	return &Secret{box: redact.Seal(&e)}, nil
}

// ParseSecret takes the 256 bytes that Bytes gave.
func ParseSecret(b []byte) (*Secret, error) {
	if len(b) != Size {
		return nil, ErrKeySize
	}
	e := [Size]byte(b)
	return &Secret{box: redact.Seal(&e)}, nil
}

// Bytes is the secret itself, for the store.
func (s *Secret) Bytes() []byte { return append([]byte(nil), s.box.Open()[:]...) }

// Wipe overwrites the secret in memory.
func (s *Secret) Wipe() { clear(s.box.Open()[:]) }

// Public returns g^s mod p, big-endian, 256 bytes. A value outside of the
// range that both sides check comes once in 2^63 times; then it returns
// ErrWeakPublic and the caller draws another secret.
func (s *Secret) Public(g *Group) ([]byte, error) {
	v, err := g.exp([]byte{byte(g.g)}, s.box.Open())
	if err != nil {
		return nil, err
	}
	return v[:], g.Check(v[:])
}

// Agree returns the key that both sides get: peer^s mod p, padded in front to
// 256 bytes. It returns ErrWeakPublic for a public value of the peer that is
// out of its range.
func (s *Secret) Agree(g *Group, peer []byte) (*Key, error) {
	if err := g.Check(peer); err != nil {
		return nil, err
	}
	k, err := g.exp(peer, s.box.Open())
	if err != nil {
		return nil, err
	}
	return &Key{box: redact.Seal(k)}, nil
}

// A Key is the key of a secret chat, 256 bytes that both sides share.
type Key struct {
	redact.Manners
	box redact.Box[[Size]byte]
}

// ParseKey takes the 256 bytes that Bytes gave.
func ParseKey(b []byte) (*Key, error) {
	if len(b) != Size {
		return nil, ErrKeySize
	}
	k := [Size]byte(b)
	return &Key{box: redact.Seal(&k)}, nil
}

// Bytes is the key itself, for the store.
func (k *Key) Bytes() []byte { return append([]byte(nil), k.box.Open()[:]...) }

// Wipe overwrites the key in memory.
func (k *Key) Wipe() { clear(k.box.Open()[:]) }

// Equal reports in constant time whether both are the same key.
func (k *Key) Equal(o *Key) bool {
	return subtle.ConstantTimeCompare(k.box.Open()[:], o.box.Open()[:]) == 1
}

// Fingerprint is the last 64 bits of the SHA-1 of the key. It finds mistakes
// of programs and names the key on the wire; it proves nothing to people, for
// whom there is Hash.
func (k *Key) Fingerprint() int64 {
	h := sha1.Sum(k.box.Open()[:])
	return int64(binary.LittleEndian.Uint64(h[12:20]))
}

// HashSize is the length of a Hash in bytes.
const HashSize = 16 + 20

// A Hash is what two people compare to know that no one is between them.
type Hash [HashSize]byte

// Hash returns the first 128 bits of the SHA-1 and the first 160 bits of the
// SHA-256 of the key. A chat shows that of its first key for as long as it
// lives: a re-key never changes what was compared.
func (k *Key) Hash() Hash {
	var h Hash
	old, now := sha1.Sum(k.box.Open()[:]), sha256.Sum256(k.box.Open()[:])
	copy(h[:16], old[:])
	copy(h[16:], now[:])
	return h
}

// PictureSize is the number of rows, and of columns, of a Picture.
const PictureSize = 12

// Picture is a Hash as other clients draw it: rows from the top, each square
// one of four colours, 0 to 3, which are FFFFFF, D5E6F3, 2D5775 and 2F99C9.
func (h Hash) Picture() [PictureSize][PictureSize]uint8 {
	var p [PictureSize][PictureSize]uint8
	for i := range PictureSize * PictureSize {
		p[i/PictureSize][i%PictureSize] = h[i/4] >> (i % 4 * 2) & 3
	}
	return p
}
