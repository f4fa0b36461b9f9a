package rocketchat_test

import (
	"encoding/json"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// FuzzReceive hands a machine rooms and messages that a server made up. It does
// not fail, marks what no one sealed, and reads afterwards what is real.
func FuzzReceive(f *testing.F) {
	s, a, b := pair(f)
	s.talk(a, b)
	a.send("room1", "one")
	s.talk(a, b)
	a.send("room1", "two")
	a.settle()
	before, in := b.store.Snapshot(), s.news(b.id, b.at)
	at, log := b.at, len(s.log)
	add := func(rooms []rocketchat.RoomState, messages []rocketchat.Message) {
		r, err := json.Marshal(rooms)
		if err != nil {
			f.Fatal(err)
		}
		m, err := json.Marshal(messages)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r, m)
	}
	add(in.Rooms, in.Messages)
	forged := append([]rocketchat.Message(nil), in.Messages...)
	for i := range forged {
		forged[i].ID, forged[i].Msg, forged[i].Content = "forged", "in clear", nil
	}
	add(in.Rooms, forged)
	f.Fuzz(func(t *testing.T, rooms, messages []byte) {
		s.t = t
		var made rocketchat.In
		if json.Unmarshal(rooms, &made.Rooms) != nil || json.Unmarshal(messages, &made.Messages) != nil {
			return
		}
		b.store, b.events, b.at, s.log = before.Snapshot(), nil, at, s.log[:log]
		b.boot()
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, made) })
		for _, e := range b.kinds(e2ee.EventMessage) {
			if m := e.Message; m.Encrypted && m.Text != "one" && m.Text != "two" {
				t.Errorf("got %q as sealed, which no one sealed", m.Text)
			}
		}
	})
}
