// Package base64text implements unpadded base64 as Matrix specifies it in its
// appendix "Unpadded Base64": the alphabet of RFC 4648 section 4, written
// without "=" and read with or without it.
//
// Reading is strict: no white space, no line ends, no half padding, and the
// bits after the last whole byte are zero, so that one value has one text
// (apart from its padding). [EncodeSecret] and [DecodeSecret] take time that
// depends on the length alone; use them for private keys.
package base64text

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// ErrMalformed is returned for text that is not base64. It never says what
// the text was.
var ErrMalformed = errors.New("base64text: not valid base64")

var encoding = base64.RawStdEncoding.Strict()

// chunk is how many bytes Encode encodes at once, whole groups of three.
const chunk = 768

// Encode returns the unpadded base64 text of b. It is made in pieces, because
// EncodeToString makes all of it twice.
func Encode(b []byte) string {
	var buf [chunk / 3 * 4]byte
	if len(b) <= chunk {
		encode(buf[:], b)
		return string(buf[:encoding.EncodedLen(len(b))])
	}
	var out strings.Builder
	out.Grow(encoding.EncodedLen(len(b)))
	for len(b) > 0 {
		n := min(chunk, len(b))
		encode(buf[:], b[:n])
		out.Write(buf[:encoding.EncodedLen(n)])
		b = b[n:]
	}
	return out.String()
}

// Append appends the unpadded base64 text of b to dst.
func Append(dst, b []byte) []byte {
	n := encoding.EncodedLen(len(b))
	dst = slices.Grow(dst, n)[:len(dst)+n]
	encode(dst[len(dst)-n:], b)
	return dst
}

// pairs holds the two digits of each number of twelve bits, the first one in
// the low byte.
var pairs = func() (t [1 << 12]uint16) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = uint16(digits[i>>6]) | uint16(digits[i&63])<<8
	}
	return t
}()

// encode writes the text of b to dst, which has room for it: twelve bytes at
// a time by pairs of digits, which takes less than half as long as digit by
// digit, and the rest with the standard library.
func encode(dst, b []byte) {
	for len(b) >= 14 && len(dst) >= 16 {
		binary.LittleEndian.PutUint64(dst, eight(binary.BigEndian.Uint64(b)))
		binary.LittleEndian.PutUint64(dst[8:], eight(binary.BigEndian.Uint64(b[6:])))
		b, dst = b[12:], dst[16:]
	}
	encoding.Encode(dst, b)
}

// eight returns the digits of the upper 48 bits of v, the first one in the
// low byte.
func eight(v uint64) uint64 {
	return uint64(pairs[v>>52]) | uint64(pairs[v>>40&4095])<<16 | uint64(pairs[v>>28&4095])<<32 | uint64(pairs[v>>16&4095])<<48
}

// Decode returns the bytes of text, which is padded or not.
func Decode(text string) ([]byte, error) {
	text, ok := trim(text)
	if !ok || strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	b, err := encoding.DecodeString(text)
	if err != nil {
		return nil, ErrMalformed
	}
	return b, nil
}

// DecodeExactly fills dst with the bytes of text, which must have exactly
// that length, in the same forms as [Decode] accepts. It allocates nothing.
func DecodeExactly(dst, text []byte) error {
	raw := bytes.TrimRight(text, "=")
	pad := len(text) - len(raw)
	if pad > 2 || pad > 0 && len(text)%4 != 0 || encoding.DecodedLen(len(raw)) != len(dst) || bytes.ContainsAny(raw, "\r\n") {
		return ErrMalformed
	}
	if n, err := encoding.Decode(dst, raw); err != nil || n != len(dst) {
		return ErrMalformed
	}
	return nil
}

// trim takes the padding off, and reports whether the length is one that
// base64 has: padded text is a multiple of four, unpadded text never leaves
// one digit over.
func trim(text string) (string, bool) {
	raw := strings.TrimRight(text, "=")
	if pad := len(text) - len(raw); pad > 2 || pad > 0 && len(text)%4 != 0 {
		return "", false
	}
	return raw, len(raw)%4 != 1
}
