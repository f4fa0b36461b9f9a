package tl

import (
	"encoding/binary"
	"math"
	"reflect"
)

// Unmarshal reads one object, which must be all of b. A Bool is a bool.
func (s *Schema) Unmarshal(b []byte) (any, error) {
	o, rest, err := s.Read(b)
	if err == nil && len(rest) != 0 {
		return nil, ErrMalformed
	}
	return o, err
}

// Read reads the object at the beginning of b and returns what follows.
func (s *Schema) Read(b []byte) (o any, rest []byte, err error) {
	r := &reader{s: s, b: b}
	v, err := r.object(0)
	if err != nil {
		return nil, nil, err
	}
	return v.Interface(), r.b, nil
}

// Peek returns the number of the object at the beginning of b, or 0.
func Peek(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

type reader struct {
	s *Schema
	b []byte
}

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, ErrMalformed
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x, nil
}

func (r *reader) word() (uint32, error) {
	x, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(x), nil
}

// object reads a boxed object of any kind.
func (r *reader) object(depth int) (reflect.Value, error) {
	id, err := r.word()
	switch {
	case err != nil:
		return reflect.Value{}, err
	case depth > maxDepth:
		return reflect.Value{}, ErrMalformed
	case id == trueID || id == falseID:
		return reflect.ValueOf(id == trueID), nil
	}
	l, ok := r.s.byID[id]
	if !ok {
		return reflect.Value{}, ErrUnknown
	}
	v := reflect.New(l.typ)
	for _, f := range l.fields {
		x := v.Elem().Field(f.index)
		if f.bit >= 0 {
			set := v.Elem().Field(f.flags).Uint()&(1<<f.bit) != 0
			if x.Kind() == reflect.Bool {
				x.SetBool(set)
				continue
			}
			if !set {
				continue
			}
		}
		if err := r.value(x, depth); err != nil {
			return reflect.Value{}, err
		}
	}
	return v, nil
}

func (r *reader) value(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int32:
		x, err := r.word()
		v.SetInt(int64(int32(x)))
		return err
	case reflect.Uint32:
		x, err := r.word()
		v.SetUint(uint64(x))
		return err
	case reflect.Int64, reflect.Float64:
		x, err := r.take(8)
		if err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(x)
		if v.Kind() == reflect.Float64 {
			v.SetFloat(math.Float64frombits(n))
		} else {
			v.SetInt(int64(n))
		}
		return nil
	case reflect.Bool:
		x, err := r.word()
		if err != nil || x != trueID && x != falseID {
			return ErrMalformed
		}
		v.SetBool(x == trueID)
		return nil
	case reflect.String:
		x, err := r.bytes()
		v.SetString(string(x))
		return err
	case reflect.Array:
		x, err := r.take(v.Len())
		if err != nil {
			return err
		}
		reflect.Copy(v, reflect.ValueOf(x))
		return nil
	case reflect.Slice:
		return r.slice(v, depth)
	case reflect.Interface:
		x, err := r.object(depth + 1)
		if err != nil {
			return err
		}
		if !x.Type().AssignableTo(v.Type()) {
			return ErrMalformed
		}
		v.Set(x)
		return nil
	}
	return ErrMalformed
}

func (r *reader) slice(v reflect.Value, depth int) error {
	if v.Type() == reflect.TypeFor[Rest]() {
		v.SetBytes(r.b)
		r.b = nil
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		x, err := r.bytes()
		v.SetBytes(append([]byte(nil), x...))
		return err
	}
	id, err := r.word()
	if err != nil || id != vectorID {
		return ErrMalformed
	}
	n, err := r.word()
	// Every element takes at least one word.
	if err != nil || int64(n) > int64(len(r.b)/4) || depth > maxDepth {
		return ErrMalformed
	}
	for range n {
		x := reflect.New(v.Type().Elem()).Elem()
		if err := r.value(x, depth+1); err != nil {
			return err
		}
		v.Set(reflect.Append(v, x))
	}
	return nil
}

// bytes reads a length, that many bytes, and the filling to a whole word.
func (r *reader) bytes() ([]byte, error) {
	head, err := r.take(1)
	if err != nil {
		return nil, err
	}
	n, used := int(head[0]), 1
	if n == 255 {
		return nil, ErrMalformed
	}
	if n == 254 {
		more, err := r.take(3)
		if err != nil {
			return nil, err
		}
		n, used = int(more[0])|int(more[1])<<8|int(more[2])<<16, 4
	}
	x, err := r.take(n)
	if err != nil {
		return nil, err
	}
	_, err = r.take((4 - (used+n)%4) % 4)
	return x, err
}
