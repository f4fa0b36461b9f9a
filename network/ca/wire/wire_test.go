package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

func TestEveryKindHasACode(t *testing.T) {
	t.Parallel()
	for _, k := range quinta.Kinds() {
		row, ok := wire.Kinds[k]
		if !ok || row.Status < 400 || row.Code == "" {
			t.Errorf("%v: got %+v, want a status and a code", k, row)
		}
	}
	if len(wire.Kinds) != len(quinta.Kinds()) {
		t.Errorf("got %d rows, want %d", len(wire.Kinds), len(quinta.Kinds()))
	}
}

func TestErrorRoundTrip(t *testing.T) {
	t.Parallel()
	want := &wire.Error{Status: 409, Code: wire.CodeStaleKeys, Detail: "seal it anew", RetryAfter: 1500 * time.Millisecond, Missing: []cert.Fingerprint{"a"}, Stale: []cert.Fingerprint{"b"}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := wire.ParseError(409, raw); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for body, want := range map[string]string{
		"<html>":                 "the server answered 502",
		`{"type":"about:blank"}`: "the server answered 502",
		`{"type":5}`:             "the server answered 502",
		`{"type":"urn:quinta:ca:error:full","detail":"\u202ea\nb\u0007"}`: "full: a b",
	} {
		if got := wire.ParseError(502, []byte(body)).Error(); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
	long := wire.ParseError(400, []byte(`{"type":"urn:quinta:ca:error:invalid","detail":"`+strings.Repeat("é", 1000)+`"}`))
	if len(long.Detail) > 300 {
		t.Errorf("got %d bytes of detail", len(long.Detail))
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var q wire.EnrolRequest
	if err := wire.Decode([]byte(` {"profile":"secure","pop":"AQI=","expires":"2026-05-01T12:00:00Z"} `), &q); err != nil || q.Profile != "secure" || len(q.Pop) != 2 || q.Expires.Day() != 1 {
		t.Errorf("got %+v %v", q, err)
	}
	if err := wire.Decode(nil, &wire.Empty{}); err != nil {
		t.Errorf("no body: got %v", err)
	}
	for _, bad := range []string{
		"[]", "null", "1", `{"profile":"secure"`, `{"profile":"secure"} {}`, `{"profile":5}`, `{"profil":"secure"}`,
		`{"profile":"a","profile":"b"}`, `{"pop":"?"}`, `{"expires":"yesterday"}`, `{"profile":1.5}`, "{\"profile\":\"\xff\"}",
		strings.Repeat(`{"profile":`, 2000),
	} {
		if err := wire.Decode([]byte(bad), new(wire.EnrolRequest)); !errors.Is(err, wire.ErrBody) {
			t.Errorf("%.40s: got %v, want ErrBody", bad, err)
		}
	}
}

func TestDirect(t *testing.T) {
	t.Parallel()
	a := wire.Direct("alice@hs1", "bob@hs1", wire.ProfileSecure)
	if a != wire.Direct("bob@hs1", "alice@hs1", wire.ProfileSecure) || !wire.CheckConv(a) || !wire.IsDirect(a) {
		t.Errorf("got %q, want the same for both", a)
	}
	for _, other := range []quinta.RoomID{wire.Direct("alice@hs1", "bob@hs1", wire.ProfileLegacy), wire.Direct("alice@hs1", "carol@hs1", wire.ProfileSecure)} {
		if a == other {
			t.Errorf("two conversations have the id %q", a)
		}
	}
	for _, bad := range []quinta.RoomID{"", "short", "with a space in it....", quinta.RoomID(strings.Repeat("x", 65))} {
		if wire.CheckConv(bad) {
			t.Errorf("%q passed", bad)
		}
	}
}

// bodies are all structs that a server reads.
func bodies() []any {
	return []any{new(wire.LoginRequest), new(wire.RegisterRequest), new(wire.LogoutRequest), new(wire.RemoveRequest), new(wire.EnrolRequest), new(wire.RenewRequest), new(wire.RevokeRequest),
		new(wire.ApprovalRequest), new(wire.ConversationRequest), new(wire.MembersRequest), new(wire.Deliver), new(wire.AckRequest), new(wire.Backup)}
}

// FuzzDecode holds every body against one rule: what was read is read the
// same again from what is written of it.
func FuzzDecode(f *testing.F) {
	for _, b := range bodies() {
		raw, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"kind":"message","form":"cms","body":"AA==","keys":["a"],"only":[{"user":"a","device":"b"}]}`))
	f.Add([]byte(`{"renewalStatement":{"a":[1,2]},"csr":"AA=="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		wire.ParseError(400, raw)
		for _, v := range bodies() {
			if wire.Decode(raw, v) != nil {
				continue
			}
			out, err := json.Marshal(v)
			if err != nil {
				t.Fatalf("%T: %v", v, err)
			}
			again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := wire.Decode(out, again); err != nil {
				// A raw member left out is written as null and is absent again.
				t.Fatalf("%T: %s was written as %s: %v", v, raw, out, err)
			}
		}
	})
}
