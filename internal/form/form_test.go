package form_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/form"
)

func TestIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s           string
		chars       string
		least, most int
		want        bool
	}{
		{"", form.ID, 1, 4, false},
		{"", form.ID, 0, 4, true},
		{"aZ0-", form.ID, 1, 4, true},
		{"aZ0-_", form.ID, 1, 4, false},
		{"a", form.ID, 2, 4, false},
		{"a.b", form.ID, 1, 4, false},
		{"ab\n", form.ID, 1, 4, false},
		{"\xff", form.ID, 1, 4, false},
		{"é", form.Lower, 1, 4, false},
		{"A", form.Lower, 1, 1, false},
		{"a", form.Upper, 1, 1, false},
		{"1:2", form.Digits + ":", 3, 3, true},
	} {
		if got := form.Is(c.s, c.chars, c.least, c.most); got != c.want {
			t.Errorf("%q of %d to %d: got %v, want %v", c.s, c.least, c.most, got, c.want)
		}
	}
	for b := range 256 {
		c := string([]byte{byte(b)})
		want := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
		if got := form.Is(c, form.ID, 1, 1); got != want {
			t.Errorf("%q: got %v, want %v", c, got, want)
		}
	}
	if n := len(form.ID); n != 64 || strings.Count(form.ID, "a") != 1 {
		t.Errorf("got %d characters, want 64", n)
	}
}
