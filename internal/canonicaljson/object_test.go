package canonicaljson_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/base64text"
	cj "github.com/quinta-chat/quinta/internal/canonicaljson"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	raw := []byte("\n{ \"z\" : 1.5e0 ,\"\\u0061\":{\"a\":[ ]} , \"b\": \"x\" }\n")
	if _, err := cj.Members(raw); !errors.Is(err, cj.ErrNotCanonical) {
		t.Errorf("a fraction: got %v", err)
	}
	raw = []byte("\n{ \"z\" : 1e0 ,\"\\u0061\":{\"a\":[ ]} , \"b\": \"x\" }\n")
	ms, err := cj.Members(raw)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range ms {
		got = append(got, m.Name+"="+string(m.Value))
	}
	if want := `z=1e0 a={"a":[ ]} b="x"`; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if v, err := cj.Get(raw, "a"); err != nil || string(v) != `{"a":[ ]}` {
		t.Errorf("Get: got %s, %v", v, err)
	}
	if v, err := cj.Get(raw, "none"); err != nil || v != nil {
		t.Errorf("Get of nothing: got %s, %v", v, err)
	}
	for _, in := range []string{`[]`, `1`, `"x"`, `null`} {
		if _, err := cj.Members([]byte(in)); err != cj.ErrNotObject {
			t.Errorf("%s: got %v, want ErrNotObject", in, err)
		}
		if _, err := cj.SigningBytes([]byte(in)); err != cj.ErrNotObject {
			t.Errorf("SigningBytes(%s): got %v, want ErrNotObject", in, err)
		}
	}
	if _, err := cj.Members([]byte(`[`)); !errors.Is(err, cj.ErrNotJSON) {
		t.Errorf("got %v, want ErrNotJSON", err)
	}
}

func TestSetAndDeleteKeepTheRest(t *testing.T) {
	t.Parallel()
	raw := ` { "b" : 1e2, "a":{ "x" : -0 } } `
	for _, c := range []struct{ name, value, want string }{
		{"b", `[]`, ` { "b" : [], "a":{ "x" : -0 } } `},
		{"a", `"\u0041"`, ` { "b" : 1e2, "a":"\u0041" } `},
		{"q\"\n", `2`, ` { "b" : 1e2, "a":{ "x" : -0 } ,"q\"\n":2} `},
	} {
		got, err := cj.Set([]byte(raw), c.name, []byte(c.value))
		if err != nil || string(got) != c.want {
			t.Errorf("Set %q: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
	if got, err := cj.Set([]byte(`{ }`), "a", []byte(`1`)); err != nil || string(got) != `{ "a":1}` {
		t.Errorf("Set in an empty object: got %s, %v", got, err)
	}
	if _, err := cj.Set([]byte(`{}`), "a", []byte(`1,"b":2`)); !errors.Is(err, cj.ErrNotJSON) {
		t.Errorf("Set to what is not one value: got %v", err)
	}
	for _, c := range []struct{ names, want string }{
		{"b", `{"a":{ "x" : -0 }}`},
		{"a", `{"b" : 1e2}`},
		{"a b", `{}`},
		{"c", raw},
	} {
		got, err := cj.Delete([]byte(raw), strings.Fields(c.names)...)
		if err != nil || string(got) != c.want {
			t.Errorf("Delete %s: got %s, %v, want %s", c.names, got, err, c.want)
		}
	}
}

func TestSigningBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{`{"unsigned":{"age":1},"b":1,"signatures":{},"a":{"unsigned":2,"signatures":3}}`, `{"a":{"signatures":3,"unsigned":2},"b":1}`},
		{`{"signatures":1,"unsigned":1}`, `{}`},
		{`{"z":1,"unsi\u0067ned":{}}`, `{"z":1}`},
		{`{"unsigned":{},"z":1,"signatures":{}}`, `{"z":1}`},
		{`{}`, `{}`},
	} {
		got, err := cj.SigningBytes([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.in, got, err, c.want)
		}
	}
	if _, err := cj.SigningBytes([]byte(`{"unsigned":0.5}`)); !errors.Is(err, cj.ErrNotCanonical) {
		t.Errorf("a fraction in unsigned: got %v", err)
	}
}

func TestSignVectors(t *testing.T) {
	t.Parallel()
	v := load(t).Signing
	// The seed has bits after its last whole byte, which base64text refuses.
	seed, err := base64.RawStdEncoding.DecodeString(v.Seed)
	if err != nil {
		t.Fatal(err)
	}
	priv := ed25519.NewKeyFromSeed(seed)
	pub := priv.Public().(ed25519.PublicKey)
	if got := base64text.Encode(pub); got != v.PublicKey {
		t.Fatalf("public key: got %s, want %s", got, v.PublicKey)
	}
	sign := func(m []byte) []byte { return ed25519.Sign(priv, m) }
	verify := func(m, sig []byte) bool { return ed25519.Verify(pub, m, sig) }
	for _, c := range v.JSON {
		signed, err := cj.Sign(c.Input, v.ServerName, v.KeyID, sign)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(signed), `"signatures":{"domain":{"ed25519:1":"`+c.Signature+`"}}`) {
			t.Errorf("got %s, want signature %s", signed, c.Signature)
		}
		if err := cj.Verify(signed, v.ServerName, v.KeyID, verify); err != nil {
			t.Errorf("Verify: %v", err)
		}
	}
	for _, c := range v.Events {
		rest, err := cj.Delete(c.Input, "unsigned", "signatures", "hashes")
		if err != nil {
			t.Fatal(err)
		}
		text, err := cj.Canonical(rest)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if got := base64text.Encode(sum[:]); got != c.ContentSHA256 {
			t.Errorf("content hash: got %s, want %s", got, c.ContentSHA256)
		}
	}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	priv := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := priv.Public().(ed25519.PublicKey)
	sign := func(m []byte) []byte { return ed25519.Sign(priv, m) }
	verify := func(m, sig []byte) bool { return ed25519.Verify(pub, m, sig) }
	raw := []byte(`{"b":1,"unsigned":{"x":1},"signatures":{"@bob:x":{"ed25519:B":"AA"}},"a":2}`)
	signed, err := cj.Sign(raw, "@alice:x", "ed25519:A", sign)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(signed), `"@bob:x":{"ed25519:B":"AA"}`) || !strings.HasPrefix(string(signed), `{"b":1,"unsigned":{"x":1},`) {
		t.Errorf("the rest changed: %s", signed)
	}
	change := func(old, new string) []byte {
		s := strings.Replace(string(signed), old, new, 1)
		if s == string(signed) {
			t.Fatalf("%q is not in %s", old, signed)
		}
		return []byte(s)
	}
	for _, c := range []struct {
		name          string
		raw           []byte
		entity, keyID string
		want          error
	}{
		{"as signed", signed, "@alice:x", "ed25519:A", nil},
		{"other unsigned", change(`{"x":1}`, `{"x":2}`), "@alice:x", "ed25519:A", nil},
		{"odd signature of another", change(`{"ed25519:B":"AA"}`, `[]`), "@alice:x", "ed25519:A", nil},
		{"changed member", change(`"b":1`, `"b":2`), "@alice:x", "ed25519:A", cj.ErrBadSignature},
		{"another entity", signed, "@carol:x", "ed25519:A", cj.ErrNoSignature},
		{"another key", signed, "@alice:x", "ed25519:C", cj.ErrNoSignature},
		{"a signature that is not one", signed, "@bob:x", "ed25519:B", cj.ErrBadSignature},
		{"not base64", change(`"AA"`, `"*"`), "@bob:x", "ed25519:B", cj.ErrBadSignature},
		{"not a string", change(`"AA"`, `7`), "@bob:x", "ed25519:B", cj.ErrNoSignature},
		{"not an object", change(`{"ed25519:B":"AA"}`, `7`), "@bob:x", "ed25519:B", cj.ErrNoSignature},
		{"no signatures", []byte(`{}`), "@alice:x", "ed25519:A", cj.ErrNoSignature},
		{"not JSON", []byte(`{`), "@alice:x", "ed25519:A", cj.ErrNotJSON},
	} {
		if err := cj.Verify(c.raw, c.entity, c.keyID, verify); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := cj.Sign([]byte(`{"signatures":[]}`), "@alice:x", "ed25519:A", sign); err == nil {
		t.Error("signed an object whose signatures have another shape")
	}
	if _, err := cj.Sign([]byte(`{}`), "\xff", "ed25519:A", sign); !errors.Is(err, cj.ErrNotCanonical) {
		t.Errorf("an entity that is not UTF-8: got %v", err)
	}
}

// FuzzSet checks that what was set is there and that the rest stayed.
func FuzzSet(f *testing.F) {
	f.Add([]byte(` {"a": 1} `), "b", []byte(`2`))
	f.Fuzz(func(t *testing.T, raw []byte, name string, value []byte) {
		before, err := cj.Members(raw)
		if err != nil {
			return
		}
		name = strings.ToValidUTF8(name, "?")
		out, err := cj.Set(raw, name, value)
		if err != nil {
			return
		}
		if got, err := cj.Get(out, name); err != nil || string(got) != strings.TrimSpace(string(value)) {
			t.Fatalf("%q in %q: got %q, %v, want %q", name, raw, got, err, value)
		}
		for _, m := range before {
			if got, err := cj.Get(out, m.Name); m.Name != name && (err != nil || string(got) != string(m.Value)) {
				t.Fatalf("%q in %q: got %q, %v, want %q", m.Name, raw, got, err, m.Value)
			}
		}
		if left, err := cj.Delete(out, name); err != nil || cj.Valid(left) != nil {
			t.Fatalf("Delete %q from %q: got %q, %v", name, out, left, err)
		}
	})
}
