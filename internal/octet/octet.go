// Package octet implements the fixed binary form in which the ratchets keep
// their state: integers big-endian, strings after a 32-bit length. A [Reader]
// keeps its first error, so that a decoder can read everything and check once.
package octet

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is returned for bytes that end too early or too late, or hold
// a count beyond its limit.
var ErrMalformed = errors.New("octet: malformed state")

// A Reader reads from the front of a slice. Once something was malformed,
// everything that follows reads as zero.
type Reader struct {
	b   []byte
	bad bool
}

// NewReader returns a reader of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Fail marks what was read as malformed.
func (r *Reader) Fail() { r.bad, r.b = true, nil }

// Err returns [ErrMalformed] if anything was malformed so far.
func (r *Reader) Err() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}

// End returns [ErrMalformed] if anything was malformed or is left over.
func (r *Reader) End() error {
	if len(r.b) > 0 {
		r.Fail()
	}
	return r.Err()
}

// Take returns the next n bytes, as a part of what is read; after an error it
// returns n zero bytes.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail()
		return make([]byte, max(0, min(n, 256)))
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Byte reads one byte.
func (r *Reader) Byte() byte { return r.Take(1)[0] }

// Bool reads a byte that is 0 or 1.
func (r *Reader) Bool() bool {
	v := r.Byte()
	if v > 1 {
		r.Fail()
	}
	return v == 1
}

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 { return binary.BigEndian.Uint32(r.Take(4)) }

// Uint64 reads eight bytes.
func (r *Reader) Uint64() uint64 { return binary.BigEndian.Uint64(r.Take(8)) }

// Key reads 32 bytes.
func (r *Reader) Key() [32]byte { return [32]byte(r.Take(32)) }

// Count reads a 32-bit count of at most limit.
func (r *Reader) Count(limit int) int {
	n := r.Uint32()
	if uint64(n) > uint64(limit) {
		r.Fail()
		return 0
	}
	return int(n)
}

// AppendBool appends 0 or 1.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendUint32 appends v in four bytes.
func AppendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendUint64 appends v in eight bytes.
func AppendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }
