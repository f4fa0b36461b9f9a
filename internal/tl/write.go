package tl

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// Marshal writes an object: a pointer to a struct of the schema, a bool, or a
// slice, which becomes a Vector.
func (s *Schema) Marshal(o any) ([]byte, error) { return s.Append(nil, o) }

// Append is Marshal that appends to b.
func (s *Schema) Append(b []byte, o any) ([]byte, error) {
	return s.write(b, reflect.ValueOf(o), 0)
}

func (s *Schema) write(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("tl: objects nest too deep")
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int32:
		if int64(int32(v.Int())) != v.Int() {
			return nil, fmt.Errorf("tl: %d is too large a number", v.Int())
		}
		return binary.LittleEndian.AppendUint32(b, uint32(v.Int())), nil
	case reflect.Uint32:
		return binary.LittleEndian.AppendUint32(b, uint32(v.Uint())), nil
	case reflect.Int64:
		return binary.LittleEndian.AppendUint64(b, uint64(v.Int())), nil
	case reflect.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float())), nil
	case reflect.Bool:
		id := uint32(falseID)
		if v.Bool() {
			id = trueID
		}
		return binary.LittleEndian.AppendUint32(b, id), nil
	case reflect.String:
		return appendString(b, v.String()), nil
	case reflect.Array:
		for i := range v.Len() {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	case reflect.Slice:
		return s.writeSlice(b, v, depth)
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return nil, fmt.Errorf("tl: an object is missing")
		}
		return s.write(b, v.Elem(), depth+1)
	case reflect.Struct:
		return s.writeStruct(b, v, depth)
	}
	return nil, fmt.Errorf("tl: %s cannot be written", v.Kind())
}

func (s *Schema) writeSlice(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Type() == reflect.TypeFor[Rest]() {
		return append(b, v.Bytes()...), nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return appendString(b, v.Bytes()), nil
	}
	b = binary.LittleEndian.AppendUint32(b, vectorID)
	b = binary.LittleEndian.AppendUint32(b, uint32(v.Len()))
	var err error
	for i := range v.Len() {
		if b, err = s.write(b, v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (s *Schema) writeStruct(b []byte, v reflect.Value, depth int) ([]byte, error) {
	l, ok := s.byType[v.Type()]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, v.Type())
	}
	flags := map[int]uint32{}
	for _, f := range l.fields {
		if f.bit >= 0 && !v.Field(f.index).IsZero() {
			flags[f.flags] |= 1 << f.bit
		}
	}
	b = binary.LittleEndian.AppendUint32(b, l.id)
	var err error
	for _, f := range l.fields {
		x := v.Field(f.index)
		switch {
		case x.Type() == reflect.TypeFor[Flags]():
			b = binary.LittleEndian.AppendUint32(b, flags[f.index])
			continue
		case f.bit >= 0 && (flags[f.flags]&(1<<f.bit) == 0 || x.Kind() == reflect.Bool):
			continue
		}
		if b, err = s.write(b, x, depth); err != nil {
			return nil, fmt.Errorf("%s: %w", l.typ, err)
		}
	}
	return b, nil
}

// appendString writes a length, the bytes, and zeros up to a whole word.
func appendString[S []byte | string](b []byte, s S) []byte {
	start := len(b)
	if len(s) < 254 {
		b = append(b, byte(len(s)))
	} else {
		b = append(b, 254, byte(len(s)), byte(len(s)>>8), byte(len(s)>>16))
	}
	b = append(b, s...)
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
