package caclient_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/middle"
)

// never fails the test if one of the texts was seen on the wire.
func never(t *testing.T, p *middle.Proxy, texts ...string) {
	t.Helper()
	for _, r := range p.Seen() {
		for _, text := range texts {
			if bytes.Contains(r.Body, []byte(text)) || strings.Contains(r.Path+r.Query, text) {
				t.Errorf("%s %s: %q left in clear", r.Method, r.Path, text)
			}
		}
	}
}

// changeOf changes the bodies of successes below a path that holds part.
func changeOf(part string, fn func(b []byte) []byte) func(*http.Request, int, []byte) (int, []byte) {
	return func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.Contains(r.URL.Path, part) && status/100 == 2 {
			b = fn(b)
		}
		return status, b
	}
}
