package matrixserver

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// member returns a member of the JSON object raw by its exact name.
func member(raw json.RawMessage, name string) (json.RawMessage, bool) {
	if !bytes.Contains(raw, []byte(name)) {
		// The names asked for here need no escape; a writer who escapes
		// them all the same is read as not having them, by canonical form.
		return nil, false
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil, false
	}
	v, ok := m[name]
	return v, ok
}

// textMember returns a string member of the JSON object raw.
func textMember(raw json.RawMessage, name string) (string, bool) {
	v, ok := member(raw, name)
	if !ok || len(v) == 0 || v[0] != '"' {
		return "", false
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, true
}

// plain reports whether s can be kept in a column of the store.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
