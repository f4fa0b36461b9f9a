// Package printable makes text that others wrote safe to show: names, error
// messages and other text that arrives over a network.
package printable

import (
	"strings"
	"unicode"
)

// Max limits what Line returns, in bytes, without the dots at its end.
const Max = 200

// Line makes s one line of printable text: white space becomes a space, and
// characters that cannot be shown are left out, such as terminal escapes and
// marks that change the direction of writing. A text longer than Max ends in
// dots.
func Line(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > Max {
		s = strings.ToValidUTF8(s[:Max], "") + "..."
	}
	return strings.TrimSpace(s)
}

// Grouped puts a blank after every four characters of a fingerprint, for
// reading aloud.
func Grouped(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
