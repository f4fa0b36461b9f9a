package matrix_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// TestWords sends messages in the words that all networks share, and reads
// them on the other side.
func TestWords(t *testing.T) {
	t.Parallel()
	_, alice, bob := pair(t)
	file := &quinta.File{Name: "a.png", MediaType: "image/png", Size: 7, Ref: []byte(`{"url":"mxc://x/y","key":{},"iv":"","hashes":{},"v":"v2"}`)}
	plain := &quinta.File{Name: "b.txt", Size: -1, Ref: []byte(`{"url":"mxc://x/z"}`)}
	for i, m := range []quinta.Message{
		{Kind: quinta.MessageText, Text: "text"},
		{Kind: quinta.MessageNotice, Text: "notice"},
		{Kind: quinta.MessageEmote, Text: "waves"},
		{Kind: quinta.MessageText, Text: "hi @bob", Mentions: []quinta.UserID{"@bob:x"}},
		{Kind: quinta.MessageFile, File: file},
		{Kind: quinta.MessageFile, File: file, Text: "look"},
		{Kind: quinta.MessageFile, File: plain},
		{Kind: quinta.MessageText, Text: "reply", Relation: quinta.Relation{Kind: quinta.RelationReply, To: "$1"}},
		{Kind: quinta.MessageText, Text: "thread", Relation: quinta.Relation{Kind: quinta.RelationThread, To: "$1"}},
		{Kind: quinta.MessageText, Text: "better", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: "$1"}},
		{Kind: quinta.MessageReaction, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: "$1", Key: "👍"}},
	} {
		want := m
		m.Room, m.Txn = "!r:x", quinta.TxnID(fmt.Sprint("mine", i))
		alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Send(tx, m) })
		alice.pump()
		turn(bob)
		for name, events := range map[string][]e2ee.Event{"alice": alice.take(), "bob": bob.take()} {
			found := false
			for _, e := range events {
				if e.Kind != e2ee.EventMessage && e.Kind != e2ee.EventSent {
					continue
				}
				found = true
				got := quinta.Message{Kind: e.Message.Kind, Text: e.Message.Text, File: e.Message.File, Relation: e.Message.Relation, Mentions: e.Message.Mentions}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %+v, want %+v in %s", name, got, want, e.Message.Body)
				}
				if !e.Message.Encrypted || e.Kind == e2ee.EventSent && e.Message.Txn != m.Txn {
					t.Errorf("%s: got encrypted %v, txn %q", name, e.Message.Encrypted, e.Message.Txn)
				}
			}
			if !found {
				t.Errorf("%s saw nothing of %+v", name, want)
			}
		}
	}
}

// TestRelationInClear puts a relation where the server sees it, and into the
// message of whoever reads it only there.
func TestRelationInClear(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	alice := eve.session("!r:x")
	eve.sends(bob, "m.room_key", alice.key(), nil)
	content := alice.event("!r:x", "better")
	content["m.relates_to"] = map[string]string{"rel_type": "m.thread", "event_id": "$1"}
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
	turn(bob)
	for _, e := range bob.take() {
		if e.Kind == e2ee.EventMessage && (e.Message.Relation.Kind != quinta.RelationThread || e.Message.Weakness != quinta.WeakRelation || strings.Contains(string(e.Message.Body), "m.relates_to")) {
			t.Errorf("got %+v (%s) in %s, want the server's claim marked and not among what was sealed", e.Message.Relation, e.Message.Weakness, e.Message.Body)
		}
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, bob.m.Send(tx, quinta.Message{Room: "!r:x", Text: "on", Relation: quinta.Relation{Kind: quinta.RelationThread, To: "$1"}})
	})
	bob.pump()
	events := s.hs.rooms["!r:x"].events
	if last := string(events[len(events)-1].raw); !strings.Contains(last, `"m.relates_to":{"rel_type":"m.thread","event_id":"$1"`) {
		t.Errorf("the server does not see the relation: %s", last)
	}
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	_, alice, _ := pair(t)
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, alice.m.Send(tx, quinta.Message{Room: "!r:x", Kind: quinta.MessageRedaction, Txn: "t1", Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: "$ev/1"}})
	})
	reqs := alice.find(matrix.ReqRoomSend)
	if len(reqs) != 1 || reqs[0].Method != "PUT" || reqs[0].Path != "/_matrix/client/v3/rooms/%21r:x/redact/$ev%2F1/t1" || string(reqs[0].Body) != `{}` {
		t.Errorf("got %+v", reqs)
	}
}

// TestEventsOfRooms tells of what changes around the messages.
func TestEventsOfRooms(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	empty := ""
	s.hs.event("!r:x", "@bob:x", "m.room.name", &empty, map[string]string{"name": "The House"})
	turn(alice)
	in := matrix.In{NextBatch: "x", Rooms: []matrix.InRoom{{ID: "!r:x", Ephemeral: []json.RawMessage{
		json.RawMessage(`{"type":"m.receipt","content":{"$1":{"m.read":{"@bob:x":{"ts":1},"@carol:x":{"ts":1}}}}}`),
		json.RawMessage(`{"type":"m.typing","content":{"user_ids":[]}}`), json.RawMessage(`7`),
	}}, {ID: "!new:x", Invited: true, State: []json.RawMessage{json.RawMessage(`{"type":"m.room.member","sender":"@bob:x","state_key":"@alice:x","content":{"membership":"invite"}}`)}}}}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice.m.Receive(tx, in) })
	var got []string
	for _, e := range alice.take() {
		switch e.Kind {
		case e2ee.EventRoom:
			got = append(got, fmt.Sprint("room ", e.Message.Room, " ", e.Detail))
		case e2ee.EventReceipt:
			got = append(got, fmt.Sprint("read ", e.User, " ", e.Message.Room, " ", e.Message.ID))
		}
	}
	want := []string{"room !r:x join", "read @bob:x !r:x $1", "read @carol:x !r:x $1", "room !new:x invite"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		r, err := alice.m.Room(tx, "!r:x")
		if r.Name != "The House" || !r.Encrypted || len(r.Members) != 2 {
			t.Errorf("got %+v", r)
		}
		known, kerr := alice.m.Known(tx, "!new:x", "!r:x", "!nowhere:x")
		if kerr != nil || len(known) != 2 || known["!r:x"].Name != "The House" || known["!new:x"].ID != "!new:x" {
			t.Errorf("got %+v, %v, want the two rooms that are known", known, kerr)
		}
		if _, err := alice.m.Room(tx, "!nowhere:x"); !errors.Is(err, matrix.ErrUnknownRoom) {
			t.Errorf("got %v, want ErrUnknownRoom", err)
		}
		rooms, _ := alice.m.Rooms(tx)
		if !slices.Equal(rooms, []quinta.RoomID{"!r:x"}) {
			t.Errorf("got rooms %v", rooms)
		}
		return nil, err
	})
}

// TestVerificationEvents hands verification on, from rooms and devices.
func TestVerificationEvents(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.hs.deliver("@alice:x", "ALICE", "@bob:x", "m.key.verification.request", map[string]string{"transaction_id": "1"})
	s.hs.event("!r:x", "@bob:x", "m.room.message", nil, map[string]string{"msgtype": "m.key.verification.request", "to": "@alice:x"})
	s.hs.event("!r:x", "@bob:x", "m.key.verification.ready", nil, map[string]string{})
	turn(alice)
	n := 0
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventVerification && e.Message.Sender == "@bob:x" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("got %d events, want 3", n)
	}
}

// TestParseSync reads both names of state_after, and refuses what is no sync.
func TestParseSync(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"state_after", "org.matrix.msc4222.state_after"} {
		in, err := matrix.ParseSync("", []byte(`{"next_batch":"n","rooms":{"join":{"!r:x":{"`+name+`":{"events":[{"type":"m.room.name"}]},"timeline":{"limited":true,"events":[{}]}}}}}`))
		if err != nil || len(in.Rooms) != 1 || !in.Rooms[0].HasStateAfter || len(in.Rooms[0].StateAfter) != 1 || !in.Rooms[0].Limited || in.OneTimeKeys == nil || in.UnusedFallback != nil {
			t.Errorf("%s: got %+v, %v", name, in, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"next_batch":7}`, `{"next_batch":"n","rooms":[]}`} {
		if _, err := matrix.ParseSync("", []byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestStateAfter takes the state from state_after and not from the timeline.
func TestStateAfter(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.login("@alice:x", "ALICE")
	in, err := matrix.ParseSync("", []byte(`{"next_batch":"n","rooms":{"join":{"!r:x":{"state_after":{"events":[
		{"type":"m.room.encryption","state_key":"","sender":"@a:x","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]},
		"timeline":{"events":[{"type":"m.room.name","state_key":"","sender":"@a:x","event_id":"$1","content":{"name":"not this"}}]}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice.m.Receive(tx, in) })
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		r, err := alice.m.Room(tx, "!r:x")
		if !r.Encrypted || r.Name != "" {
			t.Errorf("got %+v", r)
		}
		return nil, err
	})
}
