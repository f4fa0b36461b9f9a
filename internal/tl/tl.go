// Package tl implements TL, the binary form of MTProto's objects, over plain
// structs.
//
// A constructor is a struct whose blank first field has its number:
//
//	type Pong struct {
//		_      struct{} `tl:"347773c5"`
//		MsgID  int64
//		PingID int64
//	}
//
// A [Schema] knows a set of constructors and turns them into bytes and back.
// Fields are int32, int64, float64, string, []byte, [16]byte and [32]byte; an int
// has 32 bits as well; a bool is a boxed Bool; an any is an object of the schema,
// and another interface one that implements it; a slice is a boxed Vector; [Rest]
// is all that follows. A field of the type [Flags] has the bits of the optional
// fields behind it, which are tagged `tl:"?3"` for its bit 3; a bool that is
// optional is the bit itself. With two fields of flags, `tl:"?2.3"` names the
// second.
//
// Everything that is read is bounded: counts and lengths by the bytes that are
// left, nesting by a fixed depth. Objects are given to [Schema.Marshal] and
// come from [Schema.Unmarshal] as pointers.
package tl

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Errors of reading.
var (
	// ErrMalformed: the bytes are not an object, or there are more than one object has.
	ErrMalformed = errors.New("tl: malformed object")
	// ErrUnknown: the object is not in the schema.
	ErrUnknown = errors.New("tl: unknown constructor")
)

// Flags are the bits that say which optional fields are present. They are
// computed when an object is written.
type Flags uint32

// Rest is everything up to the end, such as the query in a wrapper.
type Rest []byte

// The constructors that every schema has.
const (
	vectorID = 0x1cb5c415
	trueID   = 0x997275b5
	falseID  = 0xbc799737
)

// maxDepth bounds how deep objects nest.
const maxDepth = 16

// A Schema is a set of constructors. It is safe for concurrent use.
type Schema struct {
	byID   map[uint32]*layout
	byType map[reflect.Type]*layout
}

// A layout is one constructor.
type layout struct {
	id     uint32
	typ    reflect.Type
	fields []field
}

// A field is one field; bit is -1 unless it is optional, and flags then is the
// index of the field with its bit.
type field struct {
	index int
	flags int
	bit   int
}

// NewSchema makes a schema of struct values. It panics if one is not a
// constructor, or if two have the same number: a schema is a table of the
// program.
func NewSchema(constructors ...any) *Schema {
	s := &Schema{byID: map[uint32]*layout{}, byType: map[reflect.Type]*layout{}}
	for _, c := range constructors {
		l, err := parse(reflect.TypeOf(c))
		if err != nil {
			panic("tl: internal error: " + err.Error())
		}
		if o, taken := s.byID[l.id]; taken {
			panic(fmt.Sprintf("tl: internal error: %s and %s are both %08x", o.typ, l.typ, l.id))
		}
		s.byID[l.id], s.byType[l.typ] = l, l
	}
	return s
}

func parse(t reflect.Type) (*layout, error) {
	if t.Kind() != reflect.Struct || t.NumField() == 0 || t.Field(0).Name != "_" {
		return nil, fmt.Errorf("%s has no number", t)
	}
	id, err := strconv.ParseUint(t.Field(0).Tag.Get("tl"), 16, 32)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	l := &layout{id: uint32(id), typ: t}
	var flags []int
	for i := 1; i < t.NumField(); i++ {
		f := field{index: i, bit: -1}
		if t.Field(i).Type == reflect.TypeFor[Flags]() {
			flags = append(flags, i)
		}
		if opt, ok := strings.CutPrefix(t.Field(i).Tag.Get("tl"), "?"); ok {
			which := 1
			if _, bit, two := strings.Cut(opt, "2."); two {
				which, opt = 2, bit
			}
			if f.bit, err = strconv.Atoi(opt); err != nil || which > len(flags) {
				return nil, fmt.Errorf("%s.%s: bad flag %q", t, t.Field(i).Name, opt)
			}
			f.flags = flags[which-1]
		}
		l.fields = append(l.fields, f)
	}
	return l, nil
}

// ID returns the number of a constructor of the schema, which is a struct or a
// pointer to one, or 0.
func (s *Schema) ID(o any) uint32 {
	t := reflect.TypeOf(o)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if l, ok := s.byType[t]; ok {
		return l.id
	}
	return 0
}

// Knows reports whether the schema has a constructor of that number.
func (s *Schema) Knows(id uint32) bool { _, ok := s.byID[id]; return ok }
