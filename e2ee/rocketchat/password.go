package rocketchat

import (
	"fmt"
	"io"
	"strings"

	"github.com/quinta-chat/quinta/internal/words"
)

// The bounds of an E2E password in bytes. The server has the key blob, so a
// short password falls to a search that no one can stop.
const (
	minPassword = 12
	maxPassword = 1 << 10
)

// passwordWords is the length of a password that is made here: 132 bits.
const passwordWords = 12

// GeneratePassword makes an E2E password of twelve words, separated by single
// spaces, in lower-case ASCII: every client types it alike.
func GeneratePassword(rand io.Reader) (string, error) {
	var b [(passwordWords*words.Bits + 7) / 8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("rocketchat: making a password: %w", err)
	}
	defer clear(b[:])
	return strings.Join(words.Write(b[:], passwordWords), " "), nil
}

// CheckPassword reports whether a password may seal a private key. Only
// printable ASCII may: web clients take each character as one byte and mobile
// clients write UTF-8, so that a password such as "pässwörd" which was set on
// one of them opens nothing on the other.
func CheckPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return fmt.Errorf("%w: an E2E password has %d to %d characters", ErrWeak, minPassword, maxPassword)
	}
	for _, c := range []byte(password) {
		if c < ' ' || c > '~' {
			return fmt.Errorf("%w: an E2E password may hold ASCII characters only, since other clients encode the rest differently", ErrUnsupported)
		}
	}
	return nil
}

// encodings returns the bytes that clients have made of a text: Latin-1 if it
// has such a form, then UTF-8.
func encodings(text string) [][]byte {
	var list [][]byte
	if l, ok := latin1(text); ok {
		list = append(list, l)
		if len(l) == len(text) {
			return list
		}
	}
	return append(list, []byte(text))
}

// latin1 writes each character as one byte.
func latin1(text string) ([]byte, bool) {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}
