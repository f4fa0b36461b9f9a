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
	"encoding/base64"
	"errors"
	"strings"
)

// ErrMalformed is returned for text that is not base64. It never says what
// the text was.
var ErrMalformed = errors.New("base64text: not valid base64")

var encoding = base64.RawStdEncoding.Strict()

// chunk is how many bytes Encode encodes at once, whole groups of three.
const chunk = 768

// Encode returns the unpadded base64 text of b. Long text is made in pieces,
// because EncodeToString makes all of it twice.
func Encode(b []byte) string {
	if len(b) <= chunk {
		return encoding.EncodeToString(b)
	}
	var out strings.Builder
	out.Grow(encoding.EncodedLen(len(b)))
	var buf [chunk / 3 * 4]byte
	for len(b) > 0 {
		n := min(chunk, len(b))
		encoding.Encode(buf[:], b[:n])
		out.Write(buf[:encoding.EncodedLen(n)])
		b = b[n:]
	}
	return out.String()
}

// Append appends the unpadded base64 text of b to dst.
func Append(dst, b []byte) []byte { return encoding.AppendEncode(dst, b) }

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
