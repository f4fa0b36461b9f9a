package wire

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestAppendChunk: events that are written by hand are those that the encoder
// writes, member for member.
func TestAppendChunk(t *testing.T) {
	t.Parallel()
	key, empty := "@a\"b\\\n\u2028:hs1", ""
	content := json.RawMessage(`{"membership":"join","displayname":"<&>\u2028"}`)
	list := []*Event{
		{Content: content, ID: "$1", Time: 1700000000000, Room: "!r", Sender: "@a:hs1", StateKey: &key, Type: "m.room.member", Unsigned: &Unsigned{Age: 5}},
		{Content: json.RawMessage(`{}`), Sender: "@a:hs1", StateKey: &empty, Type: "t"},
		{Content: content, ID: "$2", Redacts: "$1", Sender: "@a:hs1", Type: "m.room.redaction", Unsigned: &Unsigned{Age: 5}},
		{Sender: "@a:hs1", Type: "t"},
	}
	for _, u := range []Unsigned{{Membership: "join"}, {PrevContent: content}, {PrevSender: "@b:hs1"}, {Replaces: "$0"}, {RedactedBy: list[0]}, {Relations: map[string]any{"m.thread": "x"}}, {Txn: "t"}} {
		list = append(list, &Event{Content: content, ID: "$3", Sender: "@a:hs1", Type: "t", Unsigned: &u})
	}
	raw, err := Chunk(list)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Encode(map[string]any{"chunk": list})
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if err := json.Unmarshal(plain, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", raw, plain)
	}
	if raw, err := Chunk(nil); err != nil || string(raw) != `{"chunk":[]}` {
		t.Errorf("no events: got %s %v", raw, err)
	}
}
