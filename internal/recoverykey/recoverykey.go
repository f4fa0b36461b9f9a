// Package recoverykey implements the form in which Matrix shows a 32-byte key
// to people (client-server API, "Recovery key"): base58 in groups of four,
// with a head and a check byte.
package recoverykey

import (
	"errors"
	"strings"
	"unicode"
)

// ErrMalformed is the error for any text that is not a recovery key; it never
// contains the text.
var ErrMalformed = errors.New("not a valid recovery key")

const (
	head0, head1 = 0x8b, 0x01
	size         = 2 + 32 + 1
	textSize     = 48 // base58 characters of size bytes that begin with the head
	alphabet     = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	maxText      = 1 << 10
)

// Encode returns the recovery key of a 32-byte key.
func Encode(key [32]byte) string {
	raw := make([]byte, 0, size)
	raw = append(append(raw, head0, head1), key[:]...)
	raw = append(raw, parity(raw))
	defer clear(raw)
	// Base58 by repeated division: 35 bytes are few.
	digits := make([]byte, 0, textSize)
	for range textSize {
		rest := 0
		for i, b := range raw {
			rest = rest<<8 | int(b)
			raw[i] = byte(rest / 58)
			rest %= 58
		}
		digits = append(digits, alphabet[rest])
	}
	var b strings.Builder
	for i := range digits {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(digits[len(digits)-1-i])
	}
	return b.String()
}

// Decode returns the key of a recovery key. White space does not matter.
func Decode(text string) ([32]byte, error) {
	if len(text) > maxText {
		return [32]byte{}, ErrMalformed
	}
	var raw [size]byte
	defer clear(raw[:])
	digits := 0
	for _, r := range text {
		if unicode.IsSpace(r) {
			continue
		}
		v := -1
		if r < 0x80 {
			v = strings.IndexByte(alphabet, byte(r))
		}
		if digits++; v < 0 || digits > textSize {
			return [32]byte{}, ErrMalformed
		}
		for i := size - 1; i >= 0; i-- {
			v += int(raw[i]) * 58
			raw[i] = byte(v)
			v >>= 8
		}
		if v != 0 {
			return [32]byte{}, ErrMalformed
		}
	}
	if digits != textSize || raw[0] != head0 || raw[1] != head1 || parity(raw[:]) != 0 {
		return [32]byte{}, ErrMalformed
	}
	return [32]byte(raw[2:34]), nil
}

func parity(b []byte) (p byte) {
	for _, c := range b {
		p ^= c
	}
	return p
}
