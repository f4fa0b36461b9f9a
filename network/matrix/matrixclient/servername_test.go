package matrixclient

import (
	"strings"
	"testing"
)

func TestIsServerName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"example.org":            true,
		"example.org:8448":       true,
		"127.0.0.1:1":            true,
		"[::1]":                  true,
		"[2001:db8::1]:8448":     true,
		"":                       false,
		":8448":                  false,
		"example.org:":           false,
		"example.org:123456":     false,
		"example.org:1:2":        false,
		"exa_mple.org":           false,
		"example.org/..":         false,
		"[:]":                    false,
		"[::1":                   false,
		"::1]":                   false,
		"::1":                    false,
		"[::1]8448":              false,
		"[::1]:":                 false,
		"[example.org]":          false,
		"x[::1]":                 false,
		strings.Repeat("a", 230): true,
		strings.Repeat("a", 231): false,
	} {
		if got := isServerName(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}
