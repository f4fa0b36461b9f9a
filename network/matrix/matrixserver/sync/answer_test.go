package sync

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// TestAnswerIsRead: what the server writes into an answer, the clients' machine
// reads in it. The machine takes /sync apart by itself, since it keeps events as
// the bytes that came, so the two forms are held against each other here.
func TestAnswerIsRead(t *testing.T) {
	t.Parallel()
	event := func(typ string) json.RawMessage { return json.RawMessage(`{"type":"` + typ + `"}`) }
	list := func(types ...string) *eventList {
		l := newEventList()
		for _, typ := range types {
			l.add(event(typ))
		}
		return l
	}
	body := func(prefix string) *roomBody {
		r := &roomBody{
			Summary: &summary{Heroes: []quinta.UserID{"@hero:hs1"}, Joined: 2}, State: list(prefix + "state"), StateAfter: list(prefix + "after"),
			Timeline: timeline{eventList: *list(prefix + "timeline"), Limited: true, Prev: "s7"}, Ephemeral: list(prefix + "ephemeral"),
		}
		return r
	}
	a := &answer{
		next: Place{Pos: 17, Box: 9},
		toDevice: []mailbox.Message{
			{Envelope: quinta.Envelope{From: "@\"<b>\":hs1", Type: "m.\\type", Body: []byte(`{"a":1}`)}},
			{Envelope: quinta.Envelope{From: "@b:hs1", Type: "m.other", Body: []byte(`{}`)}},
		},
		rest: rest{
			Rooms: &rooms{
				Join: map[quinta.RoomID]*roomBody{"!1": body("j.")}, Leave: map[quinta.RoomID]*roomBody{"!2": body("l.")},
				Invite: map[quinta.RoomID]*invitation{"!3": {State: *list("i.state")}},
			},
			AccountData: newEventList().add(wire.DataEvent{Type: "m.direct", Content: json.RawMessage(`{}`)}),
			DeviceLists: &deviceLists{Changed: []quinta.UserID{"@c:hs1"}, Left: []quinta.UserID{"@d:hs1"}},
			OneTime:     map[string]int64{"signed_curve25519": 3}, Fallback: []string{"signed_curve25519"},
		},
	}
	raw, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := matrix.ParseSync("s3", raw)
	if err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	room := func(prefix string) matrix.InRoom {
		return matrix.InRoom{
			State: []json.RawMessage{event(prefix + "state")}, StateAfter: []json.RawMessage{event(prefix + "after")}, HasStateAfter: true,
			Timeline: []json.RawMessage{event(prefix + "timeline")}, Limited: true, Prev: "s7", Heroes: []quinta.UserID{"@hero:hs1"},
			Ephemeral: []json.RawMessage{event(prefix + "ephemeral")},
		}
	}
	joined, left := room("j."), room("l.")
	joined.ID, left.ID, left.Left = "!1", "!2", true
	want := matrix.In{
		Since: "s3", NextBatch: "s17_9", Changed: []quinta.UserID{"@c:hs1"}, Left: []quinta.UserID{"@d:hs1"},
		ToDevice: []json.RawMessage{
			json.RawMessage(`{"type":"m.\\type","sender":"@\"<b>\":hs1","content":{"a":1}}`), json.RawMessage(`{"type":"m.other","sender":"@b:hs1","content":{}}`),
		},
		OneTimeKeys: map[string]int{"signed_curve25519": 3}, UnusedFallback: []string{"signed_curve25519"},
		AccountData: []json.RawMessage{json.RawMessage(`{"type":"m.direct","content":{}}`)},
		Rooms:       []matrix.InRoom{joined, left, {ID: "!3", Invited: true, State: []json.RawMessage{event("i.state")}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v\nof %s", got, want, raw)
	}
}
