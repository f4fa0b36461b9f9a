package filter_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
)

func parseRoom(t *testing.T, text string) *filter.RoomEvents {
	t.Helper()
	f, err := filter.ParseRoomEvents([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestMatch(t *testing.T) {
	const typ, sender = "m.room.message", "@alice:hs1"
	for _, c := range []struct {
		filter, content string
		want            bool
	}{
		{`{}`, `{}`, true},
		{`{"types":["m.room.message"]}`, `{}`, true},
		{`{"types":["m.room.*"]}`, `{}`, true},
		{`{"types":["*"]}`, `{}`, true},
		{`{"types":["m.*.message"]}`, `{}`, true},
		{`{"types":["m*o*mess*"]}`, `{}`, true},
		{`{"types":["m.room.message*"]}`, `{}`, true},
		{`{"types":["*m.room.messages"]}`, `{}`, false},
		{`{"types":["m.room"]}`, `{}`, false},
		{`{"types":["*room"]}`, `{}`, false},
		{`{"types":["m.room.name","m.room.message"]}`, `{}`, true},
		{`{"types":[]}`, `{}`, false},
		{`{"types":null}`, `{}`, true},
		{`{"not_types":["m.room.message"]}`, `{}`, false},
		{`{"not_types":["m.room.*"],"types":["m.room.message"]}`, `{}`, false},
		{`{"not_types":[]}`, `{}`, true},
		{`{"senders":["@alice:hs1"]}`, `{}`, true},
		{`{"senders":["@*"]}`, `{}`, false},
		{`{"senders":["@bob:hs1"]}`, `{}`, false},
		{`{"senders":[]}`, `{}`, false},
		{`{"not_senders":["@alice:hs1"]}`, `{}`, false},
		{`{"not_senders":["@alice:hs1"],"senders":["@alice:hs1"]}`, `{}`, false},
		{`{"contains_url":true}`, `{"url":"mxc://hs1/x"}`, true},
		{`{"contains_url":true}`, `{"body":"url"}`, false},
		{`{"contains_url":true}`, `{"file":{"url":"mxc://hs1/x"}}`, false},
		{`{"contains_url":false}`, `{"url":"mxc://hs1/x"}`, false},
		{`{"contains_url":false}`, `{}`, true},
	} {
		if got := parseRoom(t, c.filter).Match(typ, sender, json.RawMessage(c.content)); got != c.want {
			t.Errorf("%s on %s: got %v, want %v", c.filter, c.content, got, c.want)
		}
	}
}

func TestRooms(t *testing.T) {
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{`{}`, true},
		{`{"rooms":["!a:hs1"]}`, true},
		{`{"rooms":["!b:hs1"]}`, false},
		{`{"rooms":[]}`, false},
		{`{"not_rooms":["!a:hs1"]}`, false},
		{`{"rooms":["!a:hs1"],"not_rooms":["!a:hs1"]}`, false},
	} {
		if got := parseRoom(t, c.filter).In("!a:hs1"); got != c.want {
			t.Errorf("%s: got %v, want %v", c.filter, got, c.want)
		}
		f, err := filter.Parse([]byte(`{"room":` + c.filter + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Room.In("!a:hs1"); got != c.want {
			t.Errorf("%s of a sync: got %v, want %v", c.filter, got, c.want)
		}
	}
}

func TestMax(t *testing.T) {
	for text, want := range map[string]int{`{}`: 10, `{"limit":3}`: 3, `{"limit":0}`: 0, `{"limit":1000000}`: 100} {
		if got := parseRoom(t, text).Max(10, 100); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

func TestOpenAndClosed(t *testing.T) {
	for _, c := range []struct {
		filter       string
		open, closed bool
	}{
		{`{}`, true, false},
		{`{"lazy_load_members":true,"limit":4}`, true, false},
		{`{"types":["m.*"]}`, false, false},
		{`{"contains_url":false}`, false, false},
		{`{"related_by_rel_types":["m.thread"]}`, false, false},
		{`{"types":[]}`, false, true},
		{`{"senders":[]}`, false, true},
		{`{"limit":0}`, true, true},
	} {
		f := parseRoom(t, c.filter)
		if f.Open() != c.open || f.Closed() != c.closed {
			t.Errorf("%s: got open %v closed %v", c.filter, f.Open(), f.Closed())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, `{`, `[]`, `"x"`, `7`,
		`{"room":[]}`, `{"room":{"timeline":{"limit":"many"}}}`, `{"room":{"timeline":{"limit":1.5}}}`,
		`{"room":{"timeline":{"limit":-1}}}`, `{"room":{"state":{"types":"m.room.name"}}}`, `{"room":{"state":{"types":[1]}}}`,
		`{"room":{"rooms":["not a room"]}}`, `{"room":{"ephemeral":{"not_rooms":["#x:hs1"]}}}`,
		`{"account_data":{"senders":["bob"]}}`, `{"presence":{"not_senders":[""]}}`, `{"room":{"account_data":{"senders":["!x"]}}}`,
		`{"event_format":"federation"}`, `{"event_format":"x"}`, `{"event_fields":"content"}`,
		`{"event_fields":["` + strings.Repeat("a.", 40) + `"]}`,
		`{"event_fields":[` + strings.Repeat(`"a",`, 300) + `"a"]}`,
		`{"room":{"timeline":{"related_by_senders":["x"]}}}`,
		`{"x":"` + strings.Repeat("x", filter.MaxSize) + `"}`,
		strings.Repeat(`{"room":`, 20000),
	} {
		if _, err := filter.Parse([]byte(text)); !errors.Is(err, filter.ErrInvalid) {
			t.Errorf("%.80s: got %v, want ErrInvalid", text, err)
		}
	}
	for _, text := range []string{`[]`, `{"limit":-1}`, `{"senders":["x"]}`, `{"rooms":["x"]}`} {
		if _, err := filter.ParseRoomEvents([]byte(text)); !errors.Is(err, filter.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", text, err)
		}
	}
}

func TestFields(t *testing.T) {
	const event = `{"type":"m.x","sender":"@a:hs1","content":{"body":"hi","a.b":1,"deep":{"x":1,"y":[2]},"back\\slash":3},"event_id":"$e"}`
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{nil, event},
		{[]string{"type"}, `{"type":"m.x"}`},
		{[]string{"type", "content.body"}, `{"content":{"body":"hi"},"type":"m.x"}`},
		{[]string{`content.a\.b`}, `{"content":{"a.b":1}}`},
		{[]string{`content.back\\slash`}, `{"content":{"back\\slash":3}}`},
		{[]string{"content.deep.y", "content.deep.z"}, `{"content":{"deep":{"y":[2]}}}`},
		{[]string{"content.deep", "content.deep.y"}, `{"content":{"deep":{"x":1,"y":[2]}}}`},
		{[]string{"content.body.x", "nothing", "sender.x"}, `{"content":{}}`},
		{[]string{""}, `{}`},
	} {
		f, err := filter.ParseFields(c.paths)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Apply(json.RawMessage(event))
		if err != nil || string(got) != c.want {
			t.Errorf("%q: got %s %v, want %s", c.paths, got, err, c.want)
		}
	}
	f, err := filter.ParseFields([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Apply(json.RawMessage(`[]`)); err == nil {
		t.Error("an event that is no object: got no error")
	}
}

// FuzzParse: whatever text comes, a filter that was read answers every
// question, and reads the same when it is read again.
func FuzzParse(f *testing.F) {
	f.Add(`{"room":{"timeline":{"limit":10,"types":["m.*","*x*"],"not_senders":["@a:b"]},"rooms":["!r"]},"event_fields":["content.a\\.b"]}`)
	f.Add(`{"room":{"state":{"lazy_load_members":true,"contains_url":false}},"presence":{"types":[]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		flt, err := filter.Parse([]byte(text))
		if err != nil {
			if !errors.Is(err, filter.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			return
		}
		tl := &flt.Room.Timeline
		if tl.Open() && !tl.Match("m.room.message", "@a:b", json.RawMessage(`{}`)) {
			t.Error("an open filter refuses an event")
		}
		if tl.Types != nil && len(tl.Types) == 0 && tl.Match("m", "@a:b", nil) {
			t.Error("a closed filter takes an event")
		}
		if n := tl.Max(10, 100); n < 0 || n > 100 {
			t.Errorf("got a limit of %d", n)
		}
		fields, err := filter.ParseFields(flt.Fields)
		if err != nil {
			t.Fatalf("event_fields were accepted and then refused: %v", err)
		}
		out, err := fields.Apply(json.RawMessage(`{"content":{"a.b":{"c":1}},"type":"x"}`))
		if err != nil || !json.Valid(out) {
			t.Errorf("got %s %v", out, err)
		}
	})
}
