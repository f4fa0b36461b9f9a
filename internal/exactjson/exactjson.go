// Package exactjson reads JSON as other implementations do: a member belongs to
// a field only if its name is the same, letter for letter, and an object with
// duplicate names is refused.
//
// encoding/json reads "Sender" as "sender", and the last of two duplicate
// members wins. Signed or sealed JSON would then mean one thing to this
// program and another to the next one, or to the code that checked it.
// [Unmarshal] and [Strict] are for all JSON that others have written.
//
// What is not here: canonical form, numbers and depth; see package
// canonicaljson.
package exactjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrTwice is returned for an object that has a member twice.
var ErrTwice = errors.New("exactjson: a member occurs twice")

// Unmarshal is json.Unmarshal into a zero value that v points to, with exact
// names. A member that is not a field is ignored, however similar its name
// is. The contents of a json.RawMessage are not examined, nor those of a type
// that unmarshals itself. After an error the value is zero.
func Unmarshal(raw []byte, v any) error { return unmarshal(raw, v, json.Unmarshal) }

// Strict is Unmarshal that also refuses a member that is not a field,
// including one whose name differs from a field's only in case.
func Strict(raw []byte, v any) error {
	return unmarshal(raw, v, func(raw []byte, v any) error {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			return err
		}
		if len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
			return errors.New("exactjson: more than one value")
		}
		return nil
	})
}

func unmarshal(raw []byte, v any, decode func([]byte, any) error) error {
	err := decode(raw, v)
	if err != nil && !json.Valid(raw) {
		reset(v)
		return err
	}
	w := walker{raw: raw}
	if twice := w.value(reflect.TypeOf(v)); twice != nil {
		reset(v)
		return twice
	}
	if len(w.near) == 0 {
		if err != nil {
			reset(v)
		}
		return err
	}
	// The names that are like those of fields become ones that are like none.
	other := bytes.Clone(raw)
	defer clear(other)
	for _, n := range w.near {
		for i := n.from; i < n.to; i++ {
			other[i] = 0x7f // a character that no name of a field has
		}
	}
	reset(v)
	if err := decode(other, v); err != nil {
		reset(v)
		return err
	}
	return nil
}

func reset(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		p.Elem().SetZero()
	}
}

// A span is the text of a name, without its quotes.
type span struct{ from, to int }

// A walker goes through text that is valid JSON, beside the type that it is
// read into.
type walker struct {
	raw []byte
	at  int
	// near are the names that are those of fields but for their case.
	near []span
}

// value goes through one value that is read into a t.
func (w *walker) value(t reflect.Type) error {
	w.space()
	p := planOf(t)
	switch {
	case p.opaque:
		w.skip()
		return nil
	case w.raw[w.at] == '{':
		return w.object(p)
	case w.raw[w.at] == '[':
		return w.array(p)
	}
	w.skip()
	return nil
}

// manyNames is from how many members on the names are kept in a map.
const manyNames = 24

func (w *walker) object(p *plan) error {
	w.at++
	var few []string
	var many map[string]bool
	for {
		w.space()
		switch w.raw[w.at] {
		case '}':
			w.at++
			return nil
		case ',':
			w.at++
			continue
		}
		from := w.at + 1
		w.skip()
		to := w.at - 1
		name := text(w.raw[from-1 : to+1])
		if many == nil && len(few) < manyNames {
			if slices.Contains(few, name) {
				return ErrTwice
			}
			few = append(few, name)
		} else {
			if many == nil {
				many = make(map[string]bool, 2*manyNames)
				for _, n := range few {
					many[n] = true
				}
			}
			if many[name] {
				return ErrTwice
			}
			many[name] = true
		}
		w.space()
		w.at++ // the colon
		member, near := p.member(name)
		if near {
			w.near = append(w.near, span{from, to})
		}
		if err := w.value(member); err != nil {
			return err
		}
	}
}

func (w *walker) array(p *plan) error {
	w.at++
	for {
		w.space()
		switch w.raw[w.at] {
		case ']':
			w.at++
			return nil
		case ',':
			w.at++
			continue
		}
		if err := w.value(p.elem); err != nil {
			return err
		}
	}
}

func (w *walker) space() {
	for w.at < len(w.raw) && (w.raw[w.at] == ' ' || w.raw[w.at] == '\n' || w.raw[w.at] == '\t' || w.raw[w.at] == '\r') {
		w.at++
	}
}

// skip goes beyond one value.
func (w *walker) skip() {
	depth := 0
	for w.at < len(w.raw) {
		switch w.raw[w.at] {
		case '"':
			w.at++
			for w.raw[w.at] != '"' {
				if w.raw[w.at] == '\\' {
					w.at++
				}
				w.at++
			}
			w.at++
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			if depth == 0 {
				return // the end of what contains the number
			}
			depth--
			w.at++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return
			}
			w.at++
			continue
		default:
			w.at++
			continue // a number or a word, which ends where something else begins
		}
		if depth == 0 {
			return
		}
	}
}

// text is a name as encoding/json reads it.
func text(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 && utf8.Valid(quoted) {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		panic("exactjson: internal error: a name is not a string")
	}
	return s
}

// member returns the type that the member of a name is read into, and whether
// it is a field but for its case.
func (p *plan) member(name string) (t reflect.Type, near bool) {
	if p.fields == nil {
		return p.elem, false
	}
	if t, ok := p.fields[name]; ok {
		return t, false
	}
	for field := range p.fields {
		if strings.EqualFold(field, name) {
			return nil, true
		}
	}
	return nil, false
}
