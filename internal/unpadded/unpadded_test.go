package unpadded_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/unpadded"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"Zg", "f", true},
		{"Zg==", "f", true},
		{"Zm8=", "fo", true},
		{"Zm9v", "foo", true},
		{"Zm9vYmFy", "foobar", true},
		{"Zh", "f", true}, // bits left over
		{"Zg=", "", false},
		{"Zg===", "", false},
		{"Z", "", false},
		{"====", "", false},
		{"Zm9v====", "", false},
		{"Zm9v\n", "", false},
		{"Zm\r9v", "", false},
		{"Zm-_", "", false},
		{"Z g", "", false},
	} {
		got, err := unpadded.Decode(c.in)
		if (err == nil) != c.ok || string(got) != c.want {
			t.Errorf("Decode(%q): got %q, %v, want %q, ok %v", c.in, got, err, c.want, c.ok)
		}
		if err != nil && !errors.Is(err, unpadded.ErrBase64) {
			t.Errorf("Decode(%q): got error %v, want ErrBase64", c.in, err)
		}
	}
	if got, err := unpadded.DecodeURL("-_8="); err != nil || !bytes.Equal(got, []byte{0xfb, 0xff}) {
		t.Errorf("DecodeURL: got %x, %v", got, err)
	}
	if got := unpadded.EncodeURL([]byte{0xfb, 0xff}); got != "-_8" {
		t.Errorf("EncodeURL: got %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("Zg==")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := unpadded.Decode(s)
		if err != nil {
			return
		}
		again, err := unpadded.Decode(unpadded.Encode(b))
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q: got %x, %v, want %x", s, again, err, b)
		}
	})
}
