package exactjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/exactjson"
)

type inner struct {
	Key string `json:"key"`
	Any any    `json:"any,omitempty"`
}

type embedded struct {
	Deep string `json:"deep"`
}

// A name that reads itself, which no one looks into.
type self struct{ text string }

func (s *self) UnmarshalJSON(b []byte) error { s.text = string(b); return nil }

type outer struct {
	embedded
	Sender string           `json:"sender"`
	Number int64            `json:"number,omitempty"`
	In     *inner           `json:"in,omitempty"`
	List   []inner          `json:"list,omitempty"`
	Map    map[string]inner `json:"map,omitempty"`
	Raw    json.RawMessage  `json:"raw,omitempty"`
	Self   self             `json:"self"`
	NoTag  string
	Hidden string `json:"-"`
}

// TestNames: only the exact name is a field, at every depth that is read.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want outer
		err  error
	}{
		"plain":                 {`{"sender":"a","number":3}`, outer{Sender: "a", Number: 3}, nil},
		"another case after":    {`{"sender":"a","Sender":"b"}`, outer{Sender: "a"}, nil},
		"another case before":   {`{"SENDER":"b","sender":"a"}`, outer{Sender: "a"}, nil},
		"another case alone":    {`{"Sender":"b"}`, outer{}, nil},
		"of another type":       {`{"sender":"a","Number":"x","IN":[1]}`, outer{Sender: "a"}, nil},
		"a letter that folds":   {`{"ſender":"b","sender":"a","in":{"\u212aey":"b","key":"a"}}`, outer{Sender: "a", In: &inner{Key: "a"}}, nil},
		"escaped":               {`{"\u0053ender":"b","\u0073ender":"a"}`, outer{Sender: "a"}, nil},
		"inside an object":      {`{"in":{"key":"a","Key":"b"}}`, outer{In: &inner{Key: "a"}}, nil},
		"inside a list":         {`{"list":[{"key":"a","KEY":"b"},{"KEY":"c"}]}`, outer{List: []inner{{Key: "a"}, {}}}, nil},
		"inside a map":          {`{"map":{"x":{"Key":"b","key":"a"},"X":{}}}`, outer{Map: map[string]inner{"x": {Key: "a"}, "X": {}}}, nil},
		"of an embedded struct": {`{"deep":"a","DEEP":"b"}`, outer{embedded: embedded{Deep: "a"}}, nil},
		"without a tag":         {`{"NoTag":"a","notag":"b"}`, outer{NoTag: "a"}, nil},
		"hidden":                {`{"Hidden":"a","hidden":"b"}`, outer{}, nil},
		"raw":                   {`{"raw":{"Key":1,"key":2,"key":3}}`, outer{Raw: json.RawMessage(`{"Key":1,"key":2,"key":3}`)}, nil},
		"what reads itself":     {`{"self":{"a":1,"a":2}}`, outer{Self: self{`{"a":1,"a":2}`}}, nil},
		"what is ignored":       {`{"other":{"a":1,"a":2}}`, outer{}, nil},
		"spaces":                {" {\n\"sender\" : \"a\" ,\t\"Sender\":\r\"b\" , \"list\" : [ { \"key\" : \"}]\\\"\" } ] } ", outer{Sender: "a", List: []inner{{Key: `}]"`}}}, nil},

		"twice":                  {`{"sender":"a","sender":"b"}`, outer{}, exactjson.ErrTwice},
		"twice, escaped":         {`{"sender":"a","\u0073ender":"b"}`, outer{}, exactjson.ErrTwice},
		"twice, unknown":         {`{"x":1,"x":1}`, outer{}, exactjson.ErrTwice},
		"twice, another case":    {`{"Sender":"a","Sender":"b"}`, outer{}, exactjson.ErrTwice},
		"twice inside an object": {`{"in":{"key":"a","key":"b"}}`, outer{}, exactjson.ErrTwice},
		"twice inside a list":    {`{"list":[{},{"key":"a","key":"b"}]}`, outer{}, exactjson.ErrTwice},
		"twice inside a map":     {`{"map":{"a":{},"a":{}}}`, outer{}, exactjson.ErrTwice},
		"twice inside anything":  {`{"in":{"any":[{"a":{"b":1,"b":2}}]}}`, outer{}, exactjson.ErrTwice},
		"twice, bad UTF-8":       {"{\"a\xff\":1,\"a\ufffd\":1}", outer{}, exactjson.ErrTwice},
		"twice among many":       {many(100, `"n7":1`), outer{}, exactjson.ErrTwice},
		"many":                   {many(100, `"sender":"a"`), outer{Sender: "a"}, nil},
	} {
		var got outer
		err := exactjson.Unmarshal([]byte(c.text), &got)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", name, got, err, c.want, c.err)
		}
	}
}

// many is an object of n members and one more.
func many(n int, last string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":%d,`, i, i)
	}
	return "{" + b.String() + last + "}"
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{`, `{"sender":1}`, `{"sender":"a"} x`, `[]`, `{"sender":"a","Sender":}`, `{"in":{"key":1},"In":2}`} {
		got := outer{}
		if err := exactjson.Unmarshal([]byte(text), &got); err == nil || !reflect.DeepEqual(got, outer{}) {
			t.Errorf("%s: got %+v, %v, want an error and nothing", text, got, err)
		}
	}
}

// TestStrict: unknown names are refused, and so are those of another case.
func TestStrict(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"key":"a"}`: true, `{}`: true, ` {"key":"a"} `: true,
		`{"Key":"a"}`: false, `{"key":"a","Key":"a"}`: false, `{"key":"a","other":1}`: false, `{"key":"a","key":"a"}`: false, `{"key":"a"}{}`: false, `{"key":"a"}]`: false,
	} {
		var got inner
		if err := exactjson.Strict([]byte(text), &got); (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %v", text, err, ok)
		}
	}
}

// FuzzUnmarshal: what is read is what encoding/json reads once the members
// whose names are not those of fields were removed, and nothing panics.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{
		`{"sender":"a","Sender":"b","in":{"KEY":1},"list":[{"any":{"a":[1,{"b":null}]}}]}`, `{"map":{"a":{"key":"x"}},"raw":[1e9,-0.1,true],"number":3}`,
		`{"deep":"\ud800","x":"\\\"}"}`, ` [ ] `, `nul`, `{"a":{"b":{"c":[[[{}]]]}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, plain outer
		err := exactjson.Unmarshal(raw, &got)
		if err != nil {
			if !reflect.DeepEqual(got, outer{}) {
				t.Errorf("got %+v with %v", got, err)
			}
			return
		}
		if json.Unmarshal([]byte(strings.ToLower(string(raw))), &plain) != nil {
			return // a name of another case has another type
		}
		// The exact members are read as encoding/json reads them from a map of all.
		var all map[string]json.RawMessage
		if json.Unmarshal(raw, &all) != nil || all == nil {
			return
		}
		var sender string
		if v, ok := all["sender"]; ok && json.Unmarshal(v, &sender) == nil && sender != got.Sender {
			t.Errorf("%q: got the sender %q, want %q", raw, got.Sender, sender)
		} else if !ok && got.Sender != "" {
			t.Errorf("%q: got the sender %q of no member", raw, got.Sender)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	raw := []byte(`{"sender":"@alice:example.org","number":17,"in":{"key":"` + strings.Repeat("x", 300) + `"},"raw":{"a":[1,2,3],"b":"` + strings.Repeat("y", 600) + `"}}`)
	for name, fn := range map[string]func([]byte, any) error{"exact": exactjson.Unmarshal, "json": json.Unmarshal} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var v outer
				if err := fn(raw, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
