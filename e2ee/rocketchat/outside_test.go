package rocketchat_test

import (
	"math/rand/v2"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// TestOutsideIsAHint: a server exchanges what is outside of the seal between
// real messages of two rooms, makes values up, repeats and reorders. Nothing
// binds a message to its sender or id on this network, so that these are the
// server's claim and never trusted; but no text is shown as encrypted that no
// one sealed for that room, and none twice.
func TestOutsideIsAHint(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.room("room2", "p", a.id, b.id)
	s.talk(a, b)
	before, at := b.store.Snapshot(), b.at
	rooms := map[string]quinta.RoomID{"one": "room1", "two": "room2", "three": "room1", "four": "room2"}
	for _, text := range []string{"one", "two", "three", "four"} {
		a.send(rooms[text], text)
		a.settle()
	}
	in := s.news(b.id, at)
	luck := rand.New(rand.NewPCG(9, 2))
	shown := map[string]bool{}
	for range 300 {
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		made := rocketchat.In{Rooms: in.Rooms}
		for range 8 {
			m := in.Messages[luck.IntN(len(in.Messages))]
			o := in.Messages[luck.IntN(len(in.Messages))]
			for _, change := range []func(){
				func() { m.ID = o.ID },
				func() { m.ID = "another" },
				func() { m.Room = o.Room },
				func() { m.Type = "" },
				func() { m.Msg = "in clear" },
				func() { m.Msg = o.Msg },
				func() { m.Content = o.Content },
				func() { m.Content = nil },
				func() { m.User = rocketchat.Author{ID: b.id, Name: "bob"} },
				func() { m.TS, m.Updated = o.TS, o.Updated },
				func() { m.Edited = m.TS + 1 },
				func() { m.Thread = o.ID },
				func() { m.E2E = "done" },
			} {
				if luck.IntN(10) == 0 {
					change()
				}
			}
			made.Messages = append(made.Messages, m)
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, made) })
		once := map[string]bool{}
		for _, e := range b.kinds(e2ee.EventMessage) {
			m := e.Message
			if m.Trust > quinta.TrustUnknown {
				t.Fatalf("got %+v, trusted", m)
			}
			if !m.Encrypted {
				continue // shown as what it is: a text in clear
			}
			if rooms[m.Text] != m.Room {
				t.Fatalf("got %q in %s as encrypted, which no one sealed for it", m.Text, m.Room)
			}
			shown[m.Text] = true
			if m.Relation.Kind == quinta.RelationReplace {
				continue // the server can call any of them an edit, as doc/security.md says
			}
			if once[m.Text] {
				t.Fatalf("got %q twice", m.Text)
			}
			once[m.Text] = true
		}
	}
	if len(shown) != len(rooms) {
		t.Errorf("got %v: the test shows nothing", shown)
	}
}
