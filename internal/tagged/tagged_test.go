package tagged_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/quinta-chat/quinta/internal/tagged"
)

func TestFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     tagged.Field
		rest     string
		ok       bool
	}{
		{name: "integer", in: "1005ff", want: tagged.Field{Tag: 0x10, Int: 5}, rest: "ff", ok: true},
		{name: "two byte integer", in: "10ac02", want: tagged.Field{Tag: 0x10, Int: 300}, ok: true},
		{name: "largest integer", in: "10ffffffffffffffffff01", want: tagged.Field{Tag: 0x10, Int: math.MaxUint64}, ok: true},
		{name: "string", in: "0a03616263", want: tagged.Field{Tag: 0x0a, Str: []byte("abc")}, ok: true},
		{name: "empty string", in: "0a00", want: tagged.Field{Tag: 0x0a, Str: []byte{}}, ok: true},
		{name: "two byte tag", in: "820101ee", want: tagged.Field{Tag: 0x82, Str: []byte{0xee}}, ok: true},
		{name: "nothing", in: ""},
		{name: "tag alone", in: "10"},
		{name: "unfinished varint", in: "10ff"},
		{name: "overlong varint", in: "108500"},
		{name: "overlong zero", in: "108000"},
		{name: "varint of 65 bits", in: "10ffffffffffffffffff02"},
		{name: "varint of eleven bytes", in: "10ffffffffffffffffffff01"},
		{name: "string too long", in: "0a04616263"},
		{name: "string of 2^63 bytes", in: "0a80808080808080808001"},
		{name: "type 1", in: "110000000000000000"},
		{name: "type 5", in: "0d00000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in, err := hex.DecodeString(c.in)
			if err != nil {
				t.Fatal(err)
			}
			f, rest, err := tagged.Next(in)
			if !c.ok {
				if !errors.Is(err, tagged.ErrMalformed) {
					t.Errorf("got %v, %v, want ErrMalformed", f, err)
				}
				return
			}
			if err != nil || f.Tag != c.want.Tag || f.Int != c.want.Int || !bytes.Equal(f.Str, c.want.Str) || hex.EncodeToString(rest) != c.rest {
				t.Errorf("got %v, rest %x, %v, want %v, rest %s", f, rest, err, c.want, c.rest)
			}
		})
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{0x0a, 3, 1, 2, 3, 0x10, 0xac, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rest := b
		for len(rest) > 0 {
			fd, r, err := tagged.Next(rest)
			if err != nil {
				return
			}
			if fd.Tag > 127 {
				return
			}
			if rest = r; fd.Tag&7 == 0 {
				again = tagged.AppendInt(again, byte(fd.Tag), fd.Int)
			} else {
				again = tagged.AppendStr(again, byte(fd.Tag), fd.Str)
			}
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("got %x, want %x: one value has two forms", again, b)
		}
	})
}
