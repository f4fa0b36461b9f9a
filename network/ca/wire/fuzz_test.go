package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/network/ca/wire"
)

// FuzzParseError: whatever a server answers becomes one bounded line and a
// wait that is none of centuries.
func FuzzParseError(f *testing.F) {
	e := wire.NewError(409, wire.CodeStaleKeys, "the keys have changed")
	e.RetryAfter = time.Second
	raw, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(409, raw)
	f.Add(500, []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := wire.ParseError(status, body)
		for _, s := range []string{e.Detail, string(e.Code)} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\r\u202e") || len(s) > 1000 {
				t.Errorf("got %q, want one bounded line of printable text", s)
			}
		}
		if e.RetryAfter < 0 || e.RetryAfter > 1<<31*time.Millisecond {
			t.Errorf("got a wait of %s", e.RetryAfter)
		}
	})
}
