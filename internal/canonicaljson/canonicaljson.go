// Package canonicaljson implements the Canonical JSON of the Matrix
// specification (Appendices, "Canonical JSON" and "Signing JSON"): the one
// shortest byte form of a JSON value over which signatures are made.
//
// [Canonical] turns JSON text into that form, and [Valid] only says whether
// it could. Both work on the text itself: no number passes through a float,
// no string through a lossy decoder, so what cannot be written canonically is
// refused and never altered. [SigningBytes], [Sign] and [Verify] are the
// signed objects of the specification. [Get], [Set] and [Delete] change one
// member of an object and leave every other byte as it was.
//
// Refused are: fractions and integers outside -(2^53)+1 to 2^53-1, a member
// name that occurs twice in an object, lone surrogates, text that is not
// UTF-8, and nesting deeper than [MaxDepth]. The size of the text is bounded
// by the caller.
package canonicaljson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/quinta-chat/quinta/internal/order"
)

// MaxDepth is how many objects and arrays may be nested in each other.
const MaxDepth = 100

// Errors that distinguish the causes; the message adds the byte offset.
var (
	// ErrNotJSON: the text is not JSON, or not UTF-8.
	ErrNotJSON = errors.New("canonicaljson: not JSON")
	// ErrNotCanonical: the text is JSON without a canonical form.
	ErrNotCanonical = errors.New("canonicaljson: no canonical form")
	// ErrTooDeep: the nesting exceeds MaxDepth. It is an ErrNotCanonical; the
	// text after the offending bracket was not examined.
	ErrTooDeep = fmt.Errorf("%w: nested too deeply", ErrNotCanonical)
	// ErrNotObject: the text must be an object but is another JSON value.
	ErrNotObject = errors.New("canonicaljson: not an object")
)

// Canonical returns the canonical form of the JSON text raw.
func Canonical(raw []byte) ([]byte, error) {
	return Append(make([]byte, 0, len(raw)), raw)
}

// Append appends the canonical form of the JSON text raw to dst, which must
// not overlap raw. On an error it returns dst unchanged.
func Append(dst, raw []byte) ([]byte, error) {
	s := newScanner(raw)
	defer s.release()
	s.out, s.emit = dst, true
	if err := s.document(); err != nil {
		return dst, err
	}
	return s.out, nil
}

// Valid returns nil if raw is JSON text with a canonical form, ErrNotJSON if
// it is not JSON at all, and ErrNotCanonical if it is JSON without one.
func Valid(raw []byte) error {
	s := newScanner(raw)
	defer s.release()
	return s.document()
}

// Marshal returns the canonical form of v as encoding/json writes it. Strings
// in v must be UTF-8: encoding/json replaces anything else.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("canonicaljson: %w", err)
	}
	return Canonical(b.Bytes())
}

// A member is one member of an object that is being read: its decoded name
// and the place of its canonical form in the output.
type member struct {
	name       []byte
	start, end int
}

// A scanner reads one JSON text. It continues after the first value without a
// canonical form, so that text which is not JSON is always called that.
type scanner struct {
	raw     []byte
	at      int
	out     []byte
	emit    bool
	members []member // of all open objects, innermost last
	scratch []byte
	without []string  // members of the outermost object to leave out
	top     *[]Member // collects the members of the outermost object
	wrong   error     // the first ErrNotCanonical
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

func newScanner(raw []byte) *scanner {
	s := scanners.Get().(*scanner)
	*s = scanner{raw: raw, members: s.members[:0], scratch: s.scratch[:0]}
	return s
}

// release gives the scanner's buffers back, unless they are large. Texts may
// be secret: what was kept of them goes.
func (s *scanner) release() {
	if cap(s.scratch) > 1<<14 || cap(s.members) > 1<<8 {
		return
	}
	clear(s.members[:cap(s.members)])
	clear(s.scratch[:cap(s.scratch)])
	*s = scanner{members: s.members[:0], scratch: s.scratch[:0]}
	scanners.Put(s)
}

func (s *scanner) document() error {
	if err := s.value(0); err != nil {
		return err
	}
	s.space()
	if s.at != len(s.raw) {
		return s.notJSON("text after the value")
	}
	return s.wrong
}

func (s *scanner) notJSON(why string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrNotJSON, why, s.at)
}

func (s *scanner) notCanonical(at int, why string) {
	if s.wrong == nil {
		s.wrong = fmt.Errorf("%w: %s at byte %d", ErrNotCanonical, why, at)
	}
}

func (s *scanner) space() {
	for s.at < len(s.raw) {
		switch s.raw[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.at == len(s.raw) {
		return 0
	}
	return s.raw[s.at]
}

func (s *scanner) write(b ...byte) {
	if s.emit {
		s.out = append(s.out, b...)
	}
}

func (s *scanner) value(depth int) error {
	switch c := s.next(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.text(false)
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.raw[s.at:], []byte(word)) {
			s.at += len(word)
			if s.emit {
				s.out = append(s.out, word...)
			}
			return nil
		}
	}
	if s.at == len(s.raw) {
		return s.notJSON("end of text")
	}
	return s.notJSON("no value")
}

func (s *scanner) array(depth int) error {
	if depth >= MaxDepth {
		return fmt.Errorf("%w at byte %d", ErrTooDeep, s.at)
	}
	s.at++
	s.write('[')
	if s.next() == ']' {
		s.at++
		s.write(']')
		return nil
	}
	for {
		if err := s.value(depth + 1); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.at++
			s.write(',')
		case ']':
			s.at++
			s.write(']')
			return nil
		default:
			return s.notJSON("no comma or end of array")
		}
	}
}

func (s *scanner) object(depth int) error {
	if depth >= MaxDepth {
		return fmt.Errorf("%w at byte %d", ErrTooDeep, s.at)
	}
	start, first := s.at, len(s.members)
	s.at++
	s.write('{')
	body := len(s.out)
	if s.next() == '}' {
		s.at++
	} else if err := s.objectBody(depth); err != nil {
		return err
	}
	s.order(start, body, first)
	s.write('}')
	s.members = s.members[:first]
	return nil
}

// objectBody reads members up to the closing brace. Each member but the first
// is written with its comma in front.
func (s *scanner) objectBody(depth int) error {
	for {
		if s.next() != '"' {
			return s.notJSON("no member name")
		}
		m := member{start: len(s.out)}
		s.write(',')
		keyAt := s.at
		name, err := s.text(true)
		if err != nil {
			return err
		}
		m.name = name
		if s.next() != ':' {
			return s.notJSON("no colon")
		}
		s.at++
		s.write(':')
		s.space()
		valueAt := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if m.end = len(s.out); depth == 0 {
			if s.top != nil {
				*s.top = append(*s.top, Member{Name: string(name), Value: s.raw[valueAt:s.at:s.at], start: keyAt, at: valueAt})
			}
			if s.without != nil && slices.Contains(s.without, string(name)) {
				s.out, m.end = s.out[:m.start], m.start
			}
		}
		s.members = append(s.members, m)
		switch s.next() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return s.notJSON("no comma or end of object")
		}
	}
}

// order puts the members of the object whose first member is first into the
// order of their names, drops the comma before the first of them, and notes
// a name that occurs twice. The names are compared as UTF-8 bytes, which is
// the order of their code points.
func (s *scanner) order(start, body, first int) {
	ms := s.members[first:]
	less := func(a, b member) int { return bytes.Compare(a.name, b.name) }
	sorted := slices.IsSortedFunc(ms, less)
	if !sorted {
		order.By(ms, less)
	}
	for i := 1; i < len(ms); i++ {
		if bytes.Equal(ms[i-1].name, ms[i].name) {
			s.notCanonical(start, "a member name occurs twice in the object")
			return
		}
	}
	if !s.emit || len(s.out) == body {
		return
	}
	if sorted {
		copy(s.out[body:], s.out[body+1:])
		s.out = s.out[:len(s.out)-1]
		return
	}
	s.scratch = s.scratch[:0]
	for _, m := range ms {
		s.scratch = append(s.scratch, s.out[m.start:m.end]...)
	}
	s.out = append(s.out[:body], s.scratch[1:]...)
}
