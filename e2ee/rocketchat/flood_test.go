package rocketchat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// records counts the records of a device below each first part of their keys.
func (d *device) records() map[string]int {
	d.s.t.Helper()
	n := map[string]int{}
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		for e, err := range tx.All("") {
			if err != nil {
				return nil, err
			}
			first, _, _ := strings.Cut(e.Key, "/")
			n[first]++
		}
		return nil, nil
	})
	return n
}

// TestFloods: what a user, or the server, sends without end, of each kind, does
// not make the store of a device grow without end, and does not push out what
// another user sent.
func TestFloods(t *testing.T) {
	t.Parallel()
	eve := rocketchat.Author{ID: "ideve00000000000", Name: "eve"}
	sealed := func(room quinta.RoomID, id string, by rocketchat.Author, c rocketchat.Content) rocketchat.Message {
		c.KeyID = "00000000-0000-4000-8000-000000000000"
		raw, err := json.Marshal(c)
		if err != nil {
			panic(err)
		}
		return rocketchat.Message{ID: quinta.MessageID(id), Room: room, Type: "e2e", Content: raw, User: by}
	}
	for name, c := range map[string]struct {
		flood int
		// most is how many records of each kind there may be more.
		most map[string]int
		send func(in *rocketchat.In, i int, c rocketchat.Content)
	}{
		"messages whose key never comes": {2050, map[string]int{"wait": 2000, "seen": 2000, "name": 1}, func(in *rocketchat.In, i int, c rocketchat.Content) {
			in.Messages = append(in.Messages, sealed("room1", fmt.Sprint("flood", i), eve, c))
		}},
		"edits whose key never comes": {50, map[string]int{"wait": 2, "seen": 1, "name": 1}, func(in *rocketchat.In, i int, c rocketchat.Content) {
			m := sealed("room1", "flood", eve, c)
			m.Content = json.RawMessage(strings.Replace(string(m.Content), "0000-0000", fmt.Sprintf("%04d-0000", i), 1))
			m.Edited = rocketchat.Date(i)
			in.Messages = append(in.Messages, m)
		}},
		"messages of rooms that nobody knows": {130, map[string]int{"room": 100, "req": 100, "seen": 100, "wait": 100, "name": 1}, func(in *rocketchat.In, i int, c rocketchat.Content) {
			in.Messages = append(in.Messages, sealed(quinta.RoomID(fmt.Sprint("r", i)), fmt.Sprint("flood", i), eve, c))
		}},
		"messages taken back that never came": {1030, map[string]int{"seen": 1000}, func(in *rocketchat.In, i int, _ rocketchat.Content) {
			in.Deleted = append(in.Deleted, rocketchat.Deleted{Room: "room1", ID: quinta.MessageID(fmt.Sprint("flood", i))})
		}},
		"names of users": {10_020, map[string]int{"name": 10_000}, func(in *rocketchat.In, i int, _ rocketchat.Content) {
			if len(in.Rooms) == 0 {
				in.Rooms = []rocketchat.RoomState{{ID: "room1", Type: "d", Encrypted: true}}
			}
			in.Rooms[0].Peers = append(in.Rooms[0].Peers, rocketchat.Author{ID: fmt.Sprint("flood", i), Name: fmt.Sprint("user", i)})
		}},
		"messages off the record": {100, nil, func(in *rocketchat.In, i int, _ rocketchat.Content) {
			in.Messages = append(in.Messages, rocketchat.Message{ID: quinta.MessageID(fmt.Sprint("flood", i)), Room: quinta.RoomID(fmt.Sprint("r", i)),
				Type: rocketchat.TypeOTR, Msg: `{"$binary":"AAAA"}`, User: eve})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, a, b := talking(t)
			var like rocketchat.Content
			if err := json.Unmarshal(s.log[0].Content, &like); err != nil {
				t.Fatal(err)
			}
			s.post(sealed("room1", "first", s.author(a.id), like))
			s.talk(b)
			before := b.records()
			if before["wait"] != 1 {
				t.Fatalf("%d messages wait, want that of alice", before["wait"])
			}
			var in rocketchat.In
			for i := range c.flood {
				c.send(&in, i, like)
			}
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, in) })
			after := b.records()
			for kind, n := range after {
				// The bounds keep a few small entries for each record.
				if more := n - before[kind]; kind != "bound" && more > c.most[kind] {
					t.Errorf("%d of them left %d records of %q more, want %d at most", c.flood, more, kind, c.most[kind])
				}
			}
			for kind, most := range c.most {
				if most >= 100 && after[kind]-before[kind] < most-10 {
					t.Errorf("%d of them left %d records of %q more, want about %d", c.flood, after[kind]-before[kind], kind, most)
				}
			}
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				v, err := tx.Get("wait/room1/first")
				if v == nil {
					t.Error("what alice sent was pushed out")
				}
				return nil, err
			})
		})
	}
}

// TestRoomOfAMessage: a room that only a message named is forgotten with the
// message when the server has no such room, and stays when it has.
func TestRoomOfAMessage(t *testing.T) {
	t.Parallel()
	s, a, b := talking(t)
	before := b.records()
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Receive(tx, rocketchat.In{Messages: []rocketchat.Message{{ID: "m1", Room: "elsewhere", Msg: "hello", User: s.author(a.id)}}})
	})
	s.bent = func(_ *device, q rocketchat.Req, ans *rocketchat.Ans) {
		if q.Room == "elsewhere" {
			*ans = rocketchat.Ans{}
		}
	}
	s.talk(b)
	after := b.records()
	if after["room"] != before["room"] || after["seen"] != before["seen"] {
		t.Errorf("got %v, want as before: %v", after, before)
	}
	s.bent = nil
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Receive(tx, rocketchat.In{Messages: []rocketchat.Message{{ID: "m2", Room: "room2", Msg: "hello", User: s.author(a.id)}}})
	})
	s.room("room2", "p", a.id, b.id)
	s.talk(b)
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Receive(tx, rocketchat.In{Gone: []quinta.RoomID{"room2"}})
	})
	if info := b.room("room2"); !info.Left {
		t.Error("a room of this user's was forgotten")
	}
}
