package octet_test

import (
	"errors"
	"math"
	"testing"

	"github.com/quinta-chat/quinta/internal/octet"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	b := octet.AppendBool(nil, true)
	b = octet.AppendBool(b, false)
	b = octet.AppendUint32(b, 0xfffefdfc)
	b = octet.AppendUint64(b, 1<<63+1)
	b = octet.AppendUint32(b, 3)
	b = append(b, make([]byte, 31)...)
	b = append(b, 9, 'x')
	r := octet.NewReader(b)
	if !r.Bool() || r.Bool() || r.Uint32() != 0xfffefdfc || r.Uint64() != 1<<63+1 || r.Count(3) != 3 {
		t.Error("got other values than were written")
	}
	if k := r.Key(); k[31] != 9 {
		t.Errorf("got %x, want a key that ends in 09", k)
	}
	if r.Err() != nil || r.Byte() != 'x' || r.End() != nil {
		t.Errorf("got %v, want a clean end", r.End())
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(r *octet.Reader){
		"left over":     func(r *octet.Reader) { r.Uint32() },
		"bool of 7":     func(r *octet.Reader) { r.Bool(); r.Take(8) },
		"count too big": func(r *octet.Reader) { r.Count(0x07000000); r.Take(5) },
		"too short":     func(r *octet.Reader) { r.Key() },
		"negative":      func(r *octet.Reader) { r.Take(-1) },
		"huge":          func(r *octet.Reader) { r.Take(math.MaxInt32) },
		"failed":        func(r *octet.Reader) { r.Take(9); r.Fail() },
	} {
		r := octet.NewReader([]byte{7, 0, 0, 1, 0, 0, 0, 0, 0})
		read(r)
		if err := r.End(); !errors.Is(err, octet.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
		if r.Uint64() != 0 || r.Count(4) != 0 || r.Bool() || r.Key() != [32]byte{} {
			t.Errorf("%s: got values after an error, want zeros", name)
		}
	}
}
