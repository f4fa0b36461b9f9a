package matrixserver

import (
	"strings"
	"unicode/utf8"
)

// plain reports whether s can be kept in a column of the store.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
