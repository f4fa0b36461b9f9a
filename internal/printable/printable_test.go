package printable_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/printable"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"plain words", "plain words"},
		{" two\r\nlines\tand a tab ", "two  lines and a tab"},
		{"\x1b[31mred\x1b[0m\a", "[31mred[0m"},
		{"abc\u202etxt.exe", "abctxt.exe"},
		{"bro\xffken", "bro\uFFFDken"},
		{strings.Repeat("x", 400), strings.Repeat("x", printable.Max) + "..."},
		{strings.Repeat("€", 300), strings.Repeat("€", printable.Max/3) + "..."},
		{"", ""},
	} {
		if got := printable.Line(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"": "", "abcd": "abcd", "abcdef": "abcd ef", "0123456789ab": "0123 4567 89ab"} {
		if got := printable.Grouped(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
