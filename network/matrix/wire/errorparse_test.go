package wire_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/network/matrix/wire"
)

func TestParseError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		code       wire.Code
		message    string
		after      time.Duration
	}{
		{"standard", `{"errcode":"M_FORBIDDEN","error":"no"}`, wire.CodeForbidden, "no", 0},
		{"limited", `{"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":1500}`, wire.CodeLimitExceeded, "slow", 1500 * time.Millisecond},
		{"a page", `<html>`, "", "the server answered 418", 0},
		{"nothing", ``, "", "the server answered 418", 0},
		{"an array", `[1]`, "", "the server answered 418", 0},
		{"other types", `{"errcode":7,"error":["x"],"retry_after_ms":"soon"}`, "", "the server answered 418", 0},
		{"a wait without end", `{"errcode":"M_LIMIT_EXCEEDED","error":"x","retry_after_ms":1e300}`, wire.CodeLimitExceeded, "x", 0},
		{"a wait before now", `{"errcode":"M_LIMIT_EXCEEDED","error":"x","retry_after_ms":-5}`, wire.CodeLimitExceeded, "x", 0},
		{"control characters", "{\"errcode\":\"M_X\",\"error\":\"a\\u001b[31mb\\r\\nc\\u202ed\\u0000\"}", "M_X", "a[31mb cd", 0},
		{"a code of two words", `{"errcode":"M_X Y","error":"z"}`, "", "z", 0},
	} {
		e := wire.ParseError(418, []byte(c.body))
		message := strings.Join(strings.Fields(e.Message), " ")
		if e.Status != 418 || e.Code != c.code || message != c.message || e.RetryAfter != c.after {
			t.Errorf("%s: got %q %q %s, want %q %q %s", c.name, e.Code, e.Message, e.RetryAfter, c.code, c.message, c.after)
		}
	}
	e := wire.ParseError(401, []byte(`{"flows":[{"stages":["m.login.dummy"]}],"session":"s","access_token":"x"}`))
	if e.Extra["flows"] == nil || e.Extra["session"] == nil || e.Extra["access_token"] != nil {
		t.Errorf("got %v, want what an authentication needs and nothing else", e.Extra)
	}
}

func FuzzParseError(f *testing.F) {
	f.Add(400, []byte(`{"errcode":"M_X","error":"y","retry_after_ms":1}`))
	f.Add(500, []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := wire.ParseError(status, body)
		for _, s := range []string{e.Message, string(e.Code)} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\r\u202e") || len(s) > 210 {
				t.Errorf("got %q, want one bounded line of printable text", s)
			}
		}
		if e.RetryAfter < 0 {
			t.Errorf("got a wait of %s", e.RetryAfter)
		}
	})
}
