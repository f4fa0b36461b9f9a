package tl_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/tl"
)

type leaf struct {
	_ struct{} `tl:"00000001"`
	N int64
}

type tree struct {
	_     struct{} `tl:"00000002"`
	Flags tl.Flags
	Name  string `tl:"?0"`
	Loud  bool   `tl:"?1"`
	Yes   bool
	More  tl.Flags
	Child any `tl:"?2.3"`
	IDs   []int64
	All   []any
	Raw   []byte
	Sum   [16]byte
	X     float64
	Word  int32
}

type wrap struct {
	_     struct{} `tl:"00000003"`
	Layer int32
	Query tl.Rest
}

func schema() *tl.Schema { return tl.NewSchema(leaf{}, tree{}, wrap{}) }

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := schema()
	for _, o := range []any{
		&leaf{N: -5},
		&tree{},
		&tree{Name: strings.Repeat("n", 300), Loud: true, Yes: true, Child: &leaf{N: 1}, IDs: []int64{1, -2}, All: []any{&leaf{N: 2}, true}, Raw: []byte{1, 2, 3}, Sum: [16]byte{9}, X: 1.5, Word: -1},
		&wrap{Layer: 3, Query: tl.Rest("rest")},
		true, false,
	} {
		b, err := s.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(b)%4 != 0 {
			t.Errorf("%T: %d bytes, not whole words", o, len(b))
		}
		got, err := s.Unmarshal(b)
		if err != nil {
			t.Fatalf("%T: %v", o, err)
		}
		again, err := s.Marshal(got)
		if err != nil || !bytes.Equal(again, b) || reflect.TypeOf(got) != reflect.TypeOf(o) {
			t.Errorf("%T: got %+v, %v", o, got, err)
		}
	}
}

// TestBytes holds the form against bytes written by hand.
func TestBytes(t *testing.T) {
	t.Parallel()
	s := schema()
	got, err := s.Marshal([]int64{7})
	if want := "\x15\xc4\xb5\x1c\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00"; err != nil || string(got) != want {
		t.Errorf("vector: got %x, %v, want %x", got, err, want)
	}
	b, err := s.Marshal(&tree{Name: "ab", Raw: []byte("abc")})
	if err != nil || !bytes.HasPrefix(b, []byte("\x02\x00\x00\x00\x01\x00\x00\x00\x02ab\x00\x37\x97\x79\xbc")) || !bytes.Contains(b, []byte("\x03abc")) {
		t.Errorf("object: got %x, %v", b, err)
	}
}

func TestHostile(t *testing.T) {
	s := schema()
	good, err := s.Marshal(&tree{IDs: []int64{1}, Child: &leaf{}, Raw: make([]byte, 300)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if _, err := s.Unmarshal(good[:i]); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
	if _, err := s.Unmarshal(append(bytes.Clone(good), 0, 0, 0, 0)); !errors.Is(err, tl.ErrMalformed) {
		t.Errorf("trailing: got %v", err)
	}
	if _, err := s.Unmarshal([]byte{9, 9, 9, 9}); !errors.Is(err, tl.ErrUnknown) {
		t.Errorf("unknown: got %v", err)
	}
	// A count of two milliards costs nothing.
	at := bytes.Index(good, []byte("\x15\xc4\xb5\x1c"))
	huge := bytes.Clone(good)
	copy(huge[at+4:], "\xff\xff\xff\x7f")
	if n := testing.AllocsPerRun(1, func() { _, err = s.Unmarshal(huge) }); n > 50 || !errors.Is(err, tl.ErrMalformed) {
		t.Errorf("huge count: %v allocations, %v", n, err)
	}
	deep := &tree{}
	for range 20 {
		deep = &tree{Child: deep}
	}
	if _, err := s.Marshal(deep); err == nil {
		t.Error("an object of depth 20 was written")
	}
	if _, err := s.Marshal(&struct{ A int }{}); !errors.Is(err, tl.ErrUnknown) {
		t.Errorf("foreign struct: got %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	s := schema()
	b, err := s.Marshal(&tree{Name: "n", IDs: []int64{1}, All: []any{&leaf{}}, Child: &wrap{Query: tl.Rest("abcd")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := s.Unmarshal(b)
		if err != nil {
			return
		}
		if _, err := s.Marshal(o); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
