// Package form checks ids and names that consist of a few ASCII characters.
// It does not use regular expressions, which would add much code to a program
// that does not need them otherwise.
package form

import "strings"

// Sets of characters, to be joined into the set of a form.
const (
	Lower  = "abcdefghijklmnopqrstuvwxyz"
	Upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	Digits = "0123456789"
	// ID is the URL-safe alphabet of base64, which most ids are made of.
	ID = Upper + Lower + Digits + "-_"
)

// Is reports whether s has from least to most bytes, each one of chars.
func Is(s, chars string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(chars, s[i]) < 0 {
			return false
		}
	}
	return true
}
