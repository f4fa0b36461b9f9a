package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// A line is one setting of the file.
type line struct {
	number     int
	key, value string
}

// parse reads a configuration file: one "key = value" per line, "#" at the
// beginning of a line starts a comment, and a value may be in double quotes
// as in Go.
func parse(name string, text []byte) ([]line, error) {
	if len(text) > maxFile {
		return nil, &Error{Where: name, Text: fmt.Sprintf("larger than %d bytes", maxFile)}
	}
	if !utf8.Valid(text) {
		return nil, &Error{Where: name, Text: "not text in UTF-8"}
	}
	var out []line
	for i, l := range strings.Split(string(text), "\n") {
		if l = strings.TrimSpace(l); l == "" || l[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(l, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, &Error{Where: fmt.Sprintf("%s line %d", name, i+1), Text: "not a setting: a line must look like: listen = 127.0.0.1:8008"}
		}
		if strings.HasPrefix(value, `"`) {
			v, err := strconv.Unquote(value)
			if err != nil {
				// The value may be a secret, so it is not shown.
				return nil, &Error{Where: fmt.Sprintf("%s line %d", name, i+1), Text: "the value of " + strconv.Quote(key) + " begins with a quote and does not end with one"}
			}
			value = v
		}
		out = append(out, line{number: i + 1, key: key, value: value})
	}
	return out, nil
}
