package matrixserver

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// Keys and messages are cut out of a request byte for byte, by exact member
// names, and never pass through a decoder that could change them.

// members returns the members of the object raw: M_BAD_JSON, with the place
// where it stands, if it is not an object or has no canonical form.
func members(raw []byte, where string) ([]canonicaljson.Member, error) {
	ms, err := canonicaljson.Members(raw)
	if err != nil {
		return nil, badJSON("%s must be a JSON object without fractions and duplicate members", where)
	}
	return ms, nil
}

func badJSON(format string, args ...any) *wire.Error {
	return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, fmt.Sprintf(format, args...))
}

// field returns the text of one member, nil if it is absent or null.
func field(ms []canonicaljson.Member, name string) []byte {
	for _, m := range ms {
		if m.Name == name && !isNull(m.Value) {
			return m.Value
		}
	}
	return nil
}

func isNull(raw []byte) bool { return string(raw) == "null" }

// kind returns the first byte of a JSON value: '{', '[', '"', a digit, a
// minus, or the letter of a word.
func kind(raw []byte) byte {
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// text returns the value of a JSON string; ok is false for anything else.
func text(raw []byte) (s string, ok bool) {
	if kind(raw) != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return s, decode(raw, &s) == nil
}

// count returns the value of a JSON number that is not negative.
func count(raw []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil && n >= 0
}
