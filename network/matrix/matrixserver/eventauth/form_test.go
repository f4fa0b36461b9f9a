package eventauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		if got, err := eventauth.ParseVersion(v.String()); err != nil || got != v {
			t.Errorf("%v: got %v, %v", v, got, err)
		}
	}
	for _, s := range []string{"", "0", "13", "-1", "01", "+1", "1 ", "1.0", "org.matrix.1", "٣"} {
		if _, err := eventauth.ParseVersion(s); !errors.Is(err, eventauth.ErrUnknownVersion) {
			t.Errorf("%q: got %v, want %v", s, err, eventauth.ErrUnknownVersion)
		}
	}
	c := eventauth.Versions()
	if len(c.Available) != 12 || c.Available[c.Default] != "stable" {
		t.Errorf("capability: got %+v", c)
	}
}

// TestEventID works the id of an event out by hand from its canonical JSON.
func TestEventID(t *testing.T) {
	t.Parallel()
	e := &eventauth.Event{RoomID: "!r:hs1", Type: "m.room.message", Sender: alice, Content: []byte(`{"body":"<hi>"}`),
		OriginServerTS: 5, Depth: 3, PrevEvents: []string{"$p"}, AuthEvents: []string{"$a", "$b"}}
	full := `{"auth_events":["$a","$b"],"content":{"body":"<hi>"},"depth":3,"origin_server_ts":5,"prev_events":["$p"],"room_id":"!r:hs1","sender":"@alice:hs1","type":"m.room.message"}`
	hash := sha256.Sum256([]byte(full))
	bare := `{"auth_events":["$a","$b"],"content":{},"depth":3,"hashes":{"sha256":"` + base64.RawStdEncoding.EncodeToString(hash[:]) +
		`"},"origin_server_ts":5,"prev_events":["$p"],"room_id":"!r:hs1","sender":"@alice:hs1","type":"m.room.message"}`
	sum := sha256.Sum256([]byte(bare))
	for _, v := range all() {
		want := "$" + base64.RawURLEncoding.EncodeToString(sum[:])
		switch v {
		case 1, 2:
			want = "$AQAAAAAAAAAAAAAAAAAAAA:hs1"
		case 3:
			want = "$" + base64.RawStdEncoding.EncodeToString(sum[:])
		}
		got, err := eventauth.NewID(v, e, [16]byte{1})
		if err != nil || got != want {
			t.Errorf("version %v: got %q, %v, want %q", v, got, err, want)
		}
	}
}

// TestEventIDCovers: whatever redaction keeps, and the hash of what it does
// not, is under the id.
func TestEventIDCovers(t *testing.T) {
	t.Parallel()
	key, other := "", "x"
	base := eventauth.Event{RoomID: "!r:hs1", Type: "m.room.topic", StateKey: &key, Sender: alice, Content: []byte(`{"topic":"a"}`), Redacts: "$1"}
	for _, v := range between(3, 12) {
		seen := map[string]string{}
		for what, change := range map[string]func(*eventauth.Event){
			"same":      func(*eventauth.Event) {},
			"content":   func(e *eventauth.Event) { e.Content = []byte(`{"topic":"b"}`) },
			"sender":    func(e *eventauth.Event) { e.Sender = bob },
			"state key": func(e *eventauth.Event) { e.StateKey = &other },
			"no key":    func(e *eventauth.Event) { e.StateKey = nil },
			"time":      func(e *eventauth.Event) { e.OriginServerTS = 1 },
			"previous":  func(e *eventauth.Event) { e.PrevEvents = []string{"$x"} },
			"room":      func(e *eventauth.Event) { e.RoomID = "!s:hs1" },
		} {
			e := base
			change(&e)
			id, err := eventauth.NewID(v, &e, [16]byte{})
			if err != nil {
				t.Fatal(err)
			}
			if prev, ok := seen[id]; ok {
				t.Errorf("version %v: %s and %s have the same id", v, what, prev)
			}
			seen[id] = what
		}
	}
}

func TestCreateIDHasNoRoom(t *testing.T) {
	t.Parallel()
	key := ""
	e := eventauth.Event{Type: "m.room.create", StateKey: &key, Sender: alice, Content: []byte(`{"room_version":"12"}`)}
	without, err := eventauth.NewID(12, &e, [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	e.RoomID = eventauth.RoomIDOf(without)
	with, err := eventauth.NewID(12, &e, [16]byte{})
	if err != nil || with != without {
		t.Errorf("got %q, %v, want %q", with, err, without)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	const levels = `{"ban":1,"events":{"a":1},"events_default":1,"extra":1,"invite":1,"kick":1,"notifications":{"room":1},"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`
	for _, c := range []struct {
		typ, in  string
		from, to eventauth.Version
		want     string
	}{
		{"m.room.message", `{"body":"x"}`, 1, 12, `{}`},
		{"m.room.member", `{"displayname":"x","membership":"join","join_authorised_via_users_server":"@a:b"}`, 1, 8, `{"membership":"join"}`},
		{"m.room.member", `{"displayname":"x","membership":"join","join_authorised_via_users_server":"@a:b"}`, 9, 12, `{"join_authorised_via_users_server":"@a:b","membership":"join"}`},
		{"m.room.member", `{"membership":"invite","third_party_invite":{"display_name":"x","signed":{"a":"<"}}}`, 1, 10, `{"membership":"invite"}`},
		{"m.room.member", `{"membership":"invite","third_party_invite":{"display_name":"x","signed":{"a":"<"}}}`, 11, 12, `{"membership":"invite","third_party_invite":{"signed":{"a":"<"}}}`},
		{"m.room.member", `{"membership":"invite","third_party_invite":3}`, 11, 12, `{"membership":"invite"}`},
		{"m.room.create", `{"creator":"@a:b","room_version":"1"}`, 1, 10, `{"creator":"@a:b"}`},
		{"m.room.create", `{"m.federate":false,"room_version":"1"}`, 11, 12, `{"m.federate":false,"room_version":"1"}`},
		{"m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, 1, 7, `{"join_rule":"restricted"}`},
		{"m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, 8, 12, `{"allow":[],"join_rule":"restricted"}`},
		{"m.room.power_levels", levels, 1, 10, `{"ban":1,"events":{"a":1},"events_default":1,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`},
		{"m.room.power_levels", levels, 11, 12, `{"ban":1,"events":{"a":1},"events_default":1,"invite":1,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`},
		{"m.room.aliases", `{"aliases":["#a:b"],"x":1}`, 1, 5, `{"aliases":["#a:b"]}`},
		{"m.room.aliases", `{"aliases":["#a:b"],"x":1}`, 6, 12, `{}`},
		{"m.room.history_visibility", `{"history_visibility":"shared","x":1}`, 1, 12, `{"history_visibility":"shared"}`},
		{"m.room.redaction", `{"reason":"x","redacts":"$a"}`, 1, 10, `{}`},
		{"m.room.redaction", `{"reason":"x","redacts":"$a"}`, 11, 12, `{"redacts":"$a"}`},
	} {
		for _, v := range between(c.from, c.to) {
			got, err := eventauth.Redact(v, c.typ, []byte(c.in))
			if err != nil || string(got) != c.want {
				t.Errorf("version %v: %s %s: got %s, %v, want %s", v, c.typ, c.in, got, err, c.want)
			}
		}
	}
	if _, err := eventauth.Redact(11, "m.room.member", []byte(`3`)); !errors.Is(err, eventauth.ErrBadJSON) {
		t.Errorf("content that is no object: got %v, want %v", err, eventauth.ErrBadJSON)
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{` { "b" : 1 , "a" : "<\u00e9" } `, `{"a":"<é","b":1}`, nil},
		{`{"a":-0}`, `{"a":0}`, nil},
		{`{"a":1.5}`, "", eventauth.ErrBadJSON},
		{`{"a":9007199254740992}`, "", eventauth.ErrBadJSON},
		{`{"a":1,"a":2}`, "", eventauth.ErrBadJSON},
		{`[]`, "", eventauth.ErrBadJSON},
		{`"x"`, "", eventauth.ErrBadJSON},
		{strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200), "", eventauth.ErrBadJSON},
		{`{"a":`, "", eventauth.ErrNotJSON},
		{``, "", eventauth.ErrNotJSON},
		{"{\"a\":\"\xff\"}", "", eventauth.ErrNotJSON},
	} {
		got, err := eventauth.Canonical([]byte(c.in))
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.40s: got %s, %v, want %s, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	long, max, nul := strings.Repeat("x", 256), strings.Repeat("x", 255), "a\x00"
	for _, c := range []struct {
		what string
		e    eventauth.Event
		err  error
	}{
		{"small", eventauth.Event{Type: max, Sender: max, RoomID: max, StateKey: &max, Content: []byte(`{}`)}, nil},
		{"type", eventauth.Event{Type: long, Content: []byte(`{}`)}, eventauth.ErrTooLarge},
		{"sender", eventauth.Event{Sender: long, Content: []byte(`{}`)}, eventauth.ErrTooLarge},
		{"room id", eventauth.Event{RoomID: long, Content: []byte(`{}`)}, eventauth.ErrTooLarge},
		{"state key", eventauth.Event{StateKey: &long, Content: []byte(`{}`)}, eventauth.ErrTooLarge},
		{"redacts", eventauth.Event{Redacts: long, Content: []byte(`{}`)}, eventauth.ErrTooLarge},
		{"whole event", eventauth.Event{Content: make([]byte, 65536)}, eventauth.ErrTooLarge},
		{"references", eventauth.Event{Content: make([]byte, 60000), PrevEvents: strings.Split(strings.Repeat("xxxxxxxxxx,", 1000), ",")}, eventauth.ErrTooLarge},
		{"nearly too large", eventauth.Event{Content: make([]byte, 60000)}, nil},
		{"bad text", eventauth.Event{Type: "\xff", Content: []byte(`{}`)}, eventauth.ErrBadID},
		{"zero byte", eventauth.Event{StateKey: &nul, Content: []byte(`{}`)}, eventauth.ErrBadID},
	} {
		if err := eventauth.Measure(&c.e); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.err)
		}
	}
}
