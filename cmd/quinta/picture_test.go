package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client"
)

// TestPicture: a picture is drawn in letters where there is no terminal, and in
// colours, two rows to a line, where there is one.
func TestPicture(t *testing.T) {
	t.Parallel()
	picture := [][]uint8{{0, 1}, {2, 3}}
	if got := squares(picture); !slices.Equal(got, []string{"AB", "CD"}) {
		t.Errorf("letters: got %q", got)
	}
	want := "\x1b[38;2;255;255;255m\x1b[48;2;45;87;117m\u2580\x1b[38;2;213;230;243m\x1b[48;2;47;153;201m\u2580\x1b[0m"
	if got := halfBlocks(picture); len(got) != 1 || got[0] != want {
		t.Errorf("colours: got %q, want %q", got, want)
	}
	var out bytes.Buffer
	a := &app{in: strings.NewReader("yes\n"), out: &out, err: &out, getenv: func(string) string { return "" }}
	same, err := a.compare(&account{}, client.ShortStrings{Picture: picture, Words: []string{"0a0b"}})
	if err != nil || !same || !strings.Contains(out.String(), "AB\nCD\n0a0b\n") {
		t.Errorf("compared: got %v, %v, %q", same, err, out.String())
	}
}
