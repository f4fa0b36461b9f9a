package canonicaljson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/base64text"
	cj "github.com/quinta-chat/quinta/internal/canonicaljson"
)

// vectors is testdata/spec-appendices.json.
type vectors struct {
	Signing struct {
		Seed       string `json:"seed_base64"`
		PublicKey  string `json:"public_key_base64"`
		ServerName string `json:"server_name"`
		KeyID      string `json:"key_id"`
		JSON       []struct {
			Input     json.RawMessage
			Signature string
		}
		Events []struct {
			Input         json.RawMessage
			ContentSHA256 string `json:"content_sha256"`
			Signature     string
		}
	}
	CanonicalJSON []struct{ Input, Output string } `json:"canonical_json"`
	Base64        []struct{ Input, Output string } `json:"unpadded_base64"`
}

func load(t *testing.T) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/spec-appendices.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.CanonicalJSON) != 10 || len(v.Signing.JSON) != 2 || len(v.Signing.Events) != 2 || len(v.Base64) != 7 {
		t.Fatal("the vectors are not all there")
	}
	return v
}

func TestSpecificationVectors(t *testing.T) {
	t.Parallel()
	v := load(t)
	for _, c := range v.CanonicalJSON {
		got, err := cj.Canonical([]byte(c.Input))
		if err != nil || string(got) != c.Output {
			t.Errorf("%s: got %s, %v, want %s", c.Input, got, err, c.Output)
		}
	}
	for _, c := range v.Base64 {
		if got := base64text.Encode([]byte(c.Input)); got != c.Output {
			t.Errorf("base64 of %q: got %q, want %q", c.Input, got, c.Output)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{` [ 1 , -2 , true,false,null ,"" ] `, `[1,-2,true,false,null,""]`},
		{`-0`, `0`},
		{`-0e7`, `0`},
		{`0e999999999999999999999`, `0`},
		{`1E+3`, `1000`},
		{`9007199254740991`, `9007199254740991`},
		{`-9007199254740991`, `-9007199254740991`},
		{`9e15`, `9000000000000000`},
		{`1e0000000000000000001`, `10`},
		{`"<>&\u2028\u2029"`, "\"<>&\u2028\u2029\""},
		{`"\u0022\u005C\u002f\/\u0008\u0009\u000A\u000c\u000d\u001F\u0000\u007f"`, `"\"\\//\b\t\n\f\r\u001f\u0000` + "\x7f\""},
		{`"\uD83D\ude00"`, `"😀"`},
		{`{"b":{"d":1,"c":2},"a":[{"z":0,"y":0}]}`, `{"a":[{"y":0,"z":0}],"b":{"c":2,"d":1}}`},
		// By code point, not by UTF-16: U+FF5E is before U+1F600.
		{`{"😀":1,"～":2}`, `{"～":2,"😀":1}`},
		// By decoded text, not by its escapes: quotation mark, letter, backslash.
		{`{"\\":1,"A":2,"\"":3,"":4,"\u0001":5}`, `{"":4,"\u0001":5,"\"":3,"A":2,"\\":1}`},
		{`{"aa":1,"a":2,"a\u0000":3}`, `{"a":2,"a\u0000":3,"aa":1}`},
		{"\"\uFFFD\"", "\"\uFFFD\""},
		{`"\uFFFD"`, "\"\uFFFD\""},
	} {
		got, err := cj.Canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.in, got, err, c.want)
		}
		if err := cj.Valid([]byte(c.in)); err != nil {
			t.Errorf("Valid(%s): got %v", c.in, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		in   string
		want error
	}{
		{``, cj.ErrNotJSON},
		{`  `, cj.ErrNotJSON},
		{`{`, cj.ErrNotJSON},
		{`{"a"`, cj.ErrNotJSON},
		{`{"a":`, cj.ErrNotJSON},
		{`{"a":1,}`, cj.ErrNotJSON},
		{`{a:1}`, cj.ErrNotJSON},
		{`[1,]`, cj.ErrNotJSON},
		{`[1`, cj.ErrNotJSON},
		{`1 2`, cj.ErrNotJSON},
		{`nul`, cj.ErrNotJSON},
		{`nullx`, cj.ErrNotJSON},
		{`01`, cj.ErrNotJSON},
		{`-`, cj.ErrNotJSON},
		{`1.`, cj.ErrNotJSON},
		{`.5`, cj.ErrNotJSON},
		{`+1`, cj.ErrNotJSON},
		{`1e`, cj.ErrNotJSON},
		{`"`, cj.ErrNotJSON},
		{`"\`, cj.ErrNotJSON},
		{`"\x"`, cj.ErrNotJSON},
		{`"\u12"`, cj.ErrNotJSON},
		{`"\u12g4"`, cj.ErrNotJSON},
		{`"\ud800\u12"`, cj.ErrNotJSON},
		{"\"\n\"", cj.ErrNotJSON},
		{"\"\\n\n\"", cj.ErrNotJSON},
		{"\"\xff\"", cj.ErrNotJSON},
		{"\"\\n\xc3\"", cj.ErrNotJSON},
		{"\"\xed\xa0\x80\"", cj.ErrNotJSON}, // a surrogate as UTF-8
		{"\xef\xbb\xbf{}", cj.ErrNotJSON},
		{`1.0`, cj.ErrNotCanonical},
		{`0.5`, cj.ErrNotCanonical},
		{`1e-1`, cj.ErrNotCanonical},
		{`1.5e1`, cj.ErrNotCanonical},
		{`9007199254740992`, cj.ErrNotCanonical},
		{`-9007199254740992`, cj.ErrNotCanonical},
		{`99999999999999999999999999`, cj.ErrNotCanonical},
		{`1e16`, cj.ErrNotCanonical},
		{`1e999999999999`, cj.ErrNotCanonical},
		{`"\ud800"`, cj.ErrNotCanonical},
		{`"\udc00\ud800"`, cj.ErrNotCanonical},
		{`"\ud800\u0041"`, cj.ErrNotCanonical},
		{`{"\ud800":1}`, cj.ErrNotCanonical},
		{`{"a":1,"a":1}`, cj.ErrNotCanonical},
		{`{"a":1,"b":2,"\u0061":1}`, cj.ErrNotCanonical},
		{`[{"x":{"a":1,"a":2}}]`, cj.ErrNotCanonical},
		{deep(cj.MaxDepth + 1), cj.ErrTooDeep},
		{strings.Repeat(`{"a":`, cj.MaxDepth+1), cj.ErrTooDeep},
		{strings.Repeat("[", 1<<20), cj.ErrTooDeep},
		// What is not JSON is called that, whatever came before.
		{`[0.5,`, cj.ErrNotJSON},
		{`{"a":1,"a":2}}`, cj.ErrNotJSON},
	} {
		name := c.in[:min(len(c.in), 40)]
		out, err := cj.Append([]byte("x"), []byte(c.in))
		if !errors.Is(err, c.want) || string(out) != "x" {
			t.Errorf("%q: got %q, %v, want %v", name, out, err, c.want)
		}
		if err := cj.Valid([]byte(c.in)); !errors.Is(err, c.want) {
			t.Errorf("Valid(%q): got %v, want %v", name, err, c.want)
		}
	}
	if err := cj.Valid([]byte(deep(cj.MaxDepth))); err != nil {
		t.Errorf("the greatest depth: got %v", err)
	}
	if !errors.Is(cj.ErrTooDeep, cj.ErrNotCanonical) || errors.Is(cj.ErrTooDeep, cj.ErrNotJSON) {
		t.Error("ErrTooDeep must be an ErrNotCanonical and not an ErrNotJSON")
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	got, err := cj.Marshal(map[string]any{"b": "<&>\u2028", "a": []int{1, -2}})
	if want := "{\"a\":[1,-2],\"b\":\"<&>\u2028\"}"; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := cj.Marshal(0.5); !errors.Is(err, cj.ErrNotCanonical) {
		t.Errorf("a fraction: got %v, want ErrNotCanonical", err)
	}
	if _, err := cj.Marshal(make(chan int)); err == nil {
		t.Error("a channel was written")
	}
}

// FuzzCanonical holds the encoder against encoding/json and itself.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":[1e3,-0],"a":"\ud83d\ude00\u0001"}`, `{"\\":1,"\"":2}`, `{"a":1,"a":2}`, `"\ud800"`, `1.0`, `[[]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := cj.Canonical(raw)
		if verr := cj.Valid(raw); fmt.Sprint(verr) != fmt.Sprint(err) {
			t.Fatalf("%q: Canonical says %v, Valid says %v", raw, err, verr)
		}
		if errors.Is(err, cj.ErrNotJSON) {
			return
		}
		if !errors.Is(err, cj.ErrTooDeep) && !json.Valid(raw) {
			t.Fatalf("%q: got %v for what is not JSON", raw, err)
		}
		if err != nil {
			return
		}
		again, err := cj.Canonical(out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q: canonical form %q becomes %q, %v", raw, out, again, err)
		}
		if got, want := tree(t, out), tree(t, raw); got != want {
			t.Fatalf("%q: got the value %s, want %s", raw, got, want)
		}
	})
}

// tree is the value of raw as encoding/json reads it, with exact numbers.
func tree(t *testing.T, raw []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%#v", numbers(v))
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		whole, _, _ := strings.Cut(strings.ToUpper(v.String()), "E")
		if strings.TrimLeft(whole, "-0") == "" {
			return "0/1" // big.Rat refuses a zero with a huge exponent
		}
		if r, ok := new(big.Rat).SetString(v.String()); ok {
			return r.String()
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

var keyObject = []byte(`{"key":"06UzBknVHFMwgi7AVloY7ylC+xhOhEX4PkNge14Grl8","signatures":{"@user:example.com":{"ed25519:DEVICE":"dSO80A01XiigH3uBiDVx/EjzaoycHcjq9lfQX0uWsqxl2giMIiSPR8a4d291W1ihKJL/a+myXS367WT6NAIcBA"}}}`)

func BenchmarkSigningBytes(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(keyObject)))
	for b.Loop() {
		if _, err := cj.SigningBytes(keyObject); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(keyObject)))
	for b.Loop() {
		if err := cj.Valid(keyObject); err != nil {
			b.Fatal(err)
		}
	}
}
