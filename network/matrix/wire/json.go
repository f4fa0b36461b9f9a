package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Encode writes JSON without HTML's escapes.
func Encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// AppendText appends s as a JSON string.
func AppendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// AppendMember appends a member name with its colon, and a comma if the last
// byte is not the beginning of the object.
func AppendMember(b []byte, name string) []byte {
	if n := len(b); n > 0 && b[n-1] != '{' {
		b = append(b, ',')
	}
	return append(AppendText(b, name), ':')
}

// Member returns a member of the JSON object raw by its exact name.
func Member(raw json.RawMessage, name string) (json.RawMessage, bool) {
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

// TextMember returns a string member of the JSON object raw.
func TextMember(raw json.RawMessage, name string) (string, bool) {
	v, ok := Member(raw, name)
	if !ok || len(v) == 0 || v[0] != '"' {
		return "", false
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, true
}
