package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// FuzzParseError: whatever a key server answers becomes a bounded text.
func FuzzParseError(f *testing.F) {
	raw, err := json.Marshal(&wire.Error{Status: 403, Code: "forbidden", Detail: "no"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(403, raw)
	f.Add(500, []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := wire.ParseError(status, body)
		for _, s := range []string{e.Detail, string(e.Code), e.Error()} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\r\u202e") || len(s) > 1000 {
				t.Errorf("got %q, want one bounded line of printable text", s)
			}
		}
	})
}
