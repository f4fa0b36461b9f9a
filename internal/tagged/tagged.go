// Package tagged implements the tagged fields of Olm and Megolm messages: a
// tag as a varint, whose low three bits say what follows: an integer as a
// varint, or a string as a varint length and that many bytes.
//
// Reading is strict: a varint must have its shortest form and fit in 64 bits,
// and a length must not exceed what is left.
package tagged

import "errors"

// ErrMalformed is returned for bytes that are not fields.
var ErrMalformed = errors.New("tagged: malformed field")

const (
	integer = 0
	str     = 2
)

// A Field is one tag with its value: an integer or a string by the tag.
type Field struct {
	Tag uint64
	Int uint64
	// Str is a part of what was read, not a copy.
	Str []byte
}

// Next returns the first field of b and the bytes after it.
func Next(b []byte) (f Field, rest []byte, err error) {
	if f.Tag, b, err = varint(b); err != nil {
		return Field{}, nil, err
	}
	v, b, err := varint(b)
	if err != nil {
		return Field{}, nil, err
	}
	switch f.Tag & 7 {
	case integer:
		f.Int = v
		return f, b, nil
	case str:
		if v > uint64(len(b)) {
			return Field{}, nil, ErrMalformed
		}
		f.Str = b[:v:v]
		return f, b[v:], nil
	}
	return Field{}, nil, ErrMalformed
}

// varint reads seven bits per byte, least significant first.
func varint(b []byte) (v uint64, rest []byte, err error) {
	for i, c := range b {
		if i == 9 && c > 1 || i > 9 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				break
			}
			return v, b[i+1:], nil
		}
	}
	return 0, nil, ErrMalformed
}

// AppendInt appends an integer field. The tag is one byte.
func AppendInt(dst []byte, tag byte, v uint64) []byte {
	return appendVarint(append(dst, tag), v)
}

// AppendStr appends a string field. The tag is one byte.
func AppendStr(dst []byte, tag byte, s []byte) []byte {
	return append(AppendStrHead(dst, tag, len(s)), s...)
}

// AppendStrHead appends the tag and length of a string field of n bytes.
func AppendStrHead(dst []byte, tag byte, n int) []byte {
	return appendVarint(append(dst, tag), uint64(n))
}

func appendVarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// VarintSize returns the length of v as a varint.
func VarintSize(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
