package schema_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/tg/e2e"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
	"github.com/quinta-chat/quinta/internal/tl"
)

// notInside are constructors of the other implementation that no packet has in
// it: the basic types, and the layer, whose message it decodes as well.
var notInside = []bin.Object{&e2e.BoolFalse{}, &e2e.BoolTrue{}, &e2e.True{}, &e2e.Int{}, &e2e.Long{}, &e2e.Double{}, &e2e.String{}, &e2e.Bytes{},
	&e2e.TestDummyFunctionRequest{}, &e2e.DecryptedMessageLayer{}}

// TestObjects: every object of the schema, with random fields, is read and
// written byte by byte as gotd does it, and media have the same names.
func TestObjects(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	inside := 0
next:
	for id, construct := range e2e.TypesConstructorMap() {
		for _, other := range notInside {
			if reflect.TypeOf(other) == reflect.TypeOf(construct()) {
				continue next
			}
		}
		inside++
		for range 20 {
			theirs := construct()
			fill(r, reflect.ValueOf(theirs).Elem())
			var b bin.Buffer
			if err := theirs.Encode(&b); err != nil {
				t.Fatal(err)
			}
			ours, err := schema.Objects.Unmarshal(b.Buf)
			if err != nil {
				t.Fatalf("%T: %v", theirs, err)
			}
			if got, err := schema.Objects.Marshal(ours); err != nil || !bytes.Equal(got, b.Buf) {
				t.Errorf("%T: got %x, %v, want %x", theirs, got, err, b.Buf)
			}
			if got, want := fields(ours), fields(theirs); got != want {
				t.Errorf("%T: got %s, want %s", theirs, got, want)
			}
			if m, ok := ours.(schema.Media); ok && fmt.Sprintf("%s#%x", schema.Name(m), id) != e2e.TypesMap()[id] {
				t.Errorf("got the name %s, want that of %s", schema.Name(m), e2e.TypesMap()[id])
			}
			for cut := 0; cut < len(b.Buf); cut += 4 {
				if o, err := schema.Objects.Unmarshal(b.Buf[:cut]); err == nil {
					t.Errorf("%T: got %+v from %d of %d bytes", theirs, o, cut, len(b.Buf))
				}
			}
		}
	}
	if inside != 84 {
		t.Errorf("compared %d objects", inside)
	}
}

// TestKinds: an object of another kind is malformed, as is a bool.
func TestKinds(t *testing.T) {
	t.Parallel()
	good, err := schema.Objects.Marshal(&schema.DecryptedMessageService{Action: &schema.DecryptedMessageActionNoop{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []any{&schema.DecryptedMessageMediaEmpty{}, &schema.SendMessageTypingAction{}, &schema.DocumentAttributeAnimated{}, true} {
		inner, err := schema.Objects.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schema.Objects.Unmarshal(append(good[:len(good)-4:len(good)-4], inner...)); !errors.Is(err, tl.ErrMalformed) {
			t.Errorf("%T as an action: got %v, want %v", o, err, tl.ErrMalformed)
		}
	}
}

// fields writes what an object holds, without flags and the names of types.
func fields(o any) string {
	v := reflect.ValueOf(o)
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		out := "{"
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "_" && name != "Flags" {
				out += fields(v.Field(i).Interface()) + " "
			}
		}
		return out + "}"
	case reflect.Slice:
		out := "["
		for i := range v.Len() {
			out += fields(v.Index(i).Interface()) + " "
		}
		return out + "]"
	case reflect.Invalid:
		return "nil"
	}
	return fmt.Sprint(v)
}

// fill sets the fields of an object of gotd; what is optional may stay unset.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Flags" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Int:
		v.SetInt(int64(int32(r.Uint32())))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.String:
		v.SetString(string(make([]byte, r.IntN(300))))
	case reflect.Slice:
		n := 1 + r.IntN(5)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Uint8:
		v.SetUint(uint64(r.Uint32() & 0xff))
	case reflect.Interface:
		for _, construct := range e2e.TypesConstructorMap() { // in any order
			if o := reflect.ValueOf(construct()); o.Type().Implements(v.Type()) {
				fill(r, o.Elem())
				v.Set(o)
				return
			}
		}
	}
}
