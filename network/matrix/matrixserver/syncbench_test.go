package matrixserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/room"
)

// batch reads the token of a sync.
func (s *benchStage) batch(u *user, query string) string {
	var a struct {
		Next string `json:"next_batch"`
	}
	if err := json.Unmarshal(s.call(u, "GET", v3+"/sync"+query, nil), &a); err != nil {
		s.b.Fatal(err)
	}
	return a.Next
}

// fillRooms puts the user into rooms with some members and events.
func (s *benchStage) fillRooms(u *user, rooms, members, events int) []quinta.RoomID {
	var out []quinta.RoomID
	for i := range rooms {
		id := quinta.RoomID(fmt.Sprintf("!room%d:hs1", i))
		out = append(out, id)
		if err := s.Core.Update(s.b.Context(), func(tx *db.Tx) error {
			if err := room.Create(tx, room.Room{ID: id, Version: "10", Creator: quinta.UserID(u.ID)}); err != nil {
				return err
			}
			depth := int64(0)
			add := func(typ string, key *string, sender, content string, m *room.Membership) error {
				depth++
				return room.Append(tx, &room.Event{Room: id, ID: quinta.MessageID(fmt.Sprintf("$%d-%d", i, depth)), Type: typ, StateKey: key,
					Sender: quinta.UserID(sender), Time: tx.Millis(), Depth: depth, Content: []byte(content)}, m)
			}
			none := ""
			if err := add("m.room.create", &none, u.ID, `{"room_version":"10","creator":"`+u.ID+`"}`, nil); err != nil {
				return err
			}
			for j := range members {
				who := u.ID
				if j > 0 {
					who = fmt.Sprintf("@member%d:hs1", j)
				}
				if err := add("m.room.member", &who, who, `{"membership":"join"}`, &room.Membership{Member: quinta.UserID(who), Membership: room.Join}); err != nil {
					return err
				}
			}
			for range events {
				if err := add("m.room.encrypted", nil, u.ID, `{"ciphertext":"`+strings.Repeat("x", 600)+`"}`, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			s.b.Fatal(err)
		}
	}
	return out
}

// BenchmarkSyncIdle is a sync of a device in 100 rooms with nothing new for
// it, while others write.
func BenchmarkSyncIdle(b *testing.B) {
	s := newBenchStage(b)
	u := s.device("alice", "A")
	s.fillRooms(u, 100, 20, 20)
	since := s.batch(u, "")
	if err := s.Core.Update(b.Context(), func(tx *db.Tx) error { tx.NextPos(); return nil }); err != nil {
		b.Fatal(err)
	}
	path := v3 + "/sync?timeout=0&since=" + since
	s.run(func(int) { s.call(u, "GET", path, nil) })
}

// BenchmarkSyncOneMessage is a sync of a device in 100 rooms with one new
// message.
func BenchmarkSyncOneMessage(b *testing.B) {
	s := newBenchStage(b)
	u := s.device("alice", "A")
	s.fillRooms(u, 100, 20, 20)
	since := s.batch(u, "")
	if err := s.Core.Update(b.Context(), func(tx *db.Tx) error {
		return room.Append(tx, &room.Event{Room: "!room7:hs1", ID: "$new", Type: "m.room.encrypted", Sender: "@member3:hs1", Time: tx.Millis(), Depth: 100, Content: []byte(`{"ciphertext":"x"}`)}, nil)
	}); err != nil {
		b.Fatal(err)
	}
	path := v3 + "/sync?timeout=0&since=" + since + "&filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D"
	s.run(func(int) { s.call(u, "GET", path, nil) })
}

// BenchmarkSyncInitial is the first sync of a device in 100 rooms.
func BenchmarkSyncInitial(b *testing.B) {
	s := newBenchStage(b)
	u := s.device("alice", "A")
	s.fillRooms(u, 100, 20, 20)
	s.run(func(int) { s.call(u, "GET", v3+"/sync", nil) })
}

// BenchmarkSyncDrain40 is a sync that gives 40 messages to the device and
// acknowledges 40 others.
func BenchmarkSyncDrain40(b *testing.B) {
	s := newBenchStage(b)
	const devices = 64
	body := []byte(`{"algorithm":"m.olm.v1.curve25519-aes-sha2","ciphertext":{"` + strings.Repeat("k", 43) + `":{"type":1,"body":"` + strings.Repeat("b", 1100) + `"}},"sender_key":"` + strings.Repeat("s", 43) + `"}`)
	var mu sync.Mutex
	free := make([]*user, 0, devices)
	since := map[*user]string{}
	for i := range devices {
		u := s.device(fmt.Sprint("user", i), "A")
		free = append(free, u)
		since[u] = s.batch(u, "")
	}
	put := func(u *user) {
		if err := s.Core.Update(b.Context(), func(tx *db.Tx) error {
			list := make([]quinta.Envelope, 40)
			for i := range list {
				list[i] = quinta.Envelope{From: "@sender:hs1", To: quinta.UserID(u.ID), Device: "A", Type: "m.room.encrypted", Body: body}
			}
			return mailbox.Put(tx, "matrix", 0, list...)
		}); err != nil {
			b.Error(err)
		}
	}
	// What it costs to put them is measured apart and taken off.
	before := cpu()
	for range 200 {
		put(free[0])
	}
	cost := float64(cpu()-before) / 1000 / 200
	s.call(free[0], "GET", v3+"/sync?since="+since[free[0]], nil)
	since[free[0]] = s.batch(free[0], "")
	s.run(func(int) {
		mu.Lock()
		u := free[len(free)-1]
		free = free[:len(free)-1]
		from := since[u]
		mu.Unlock()
		put(u)
		next := s.batch(u, "?since="+from)
		mu.Lock()
		since[u] = next
		free = append(free, u)
		mu.Unlock()
	})
	b.ReportMetric(cost, "of-it-put-us/op")
}

// TestSyncWaitersAreSmall: what a sync holds while it waits is bounded, so
// that ten thousand devices can wait on a small machine. The connection is
// not part of it.
func TestSyncWaitersAreSmall(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	for range 5 {
		alice.create(object{})
	}
	since := alice.sync().text("next_batch")
	h := s.Core.Handler(nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	memory := func() int64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	others := s.waiters(1)
	before := memory()
	const waiters = 500
	for range waiters {
		all.Go(func() {
			q := httptest.NewRequestWithContext(ctx, "GET", v3+"/sync?timeout=300000&since="+since, nil)
			q.Header.Set("Authorization", "Bearer "+alice.Token)
			h.ServeHTTP(httptest.NewRecorder(), q)
		})
	}
	s.waiters(others + waiters)
	if each := (memory() - before) / waiters; each > 32<<10 {
		t.Errorf("a sync that waits holds %d bytes, want 32 KiB at most", each)
	} else {
		t.Logf("a sync that waits holds %d bytes", each)
	}
	cancel()
	all.Wait()
	if err := s.Core.Update(t.Context(), func(tx *db.Tx) error { feed.Bump(tx, feed.User("matrix", quinta.UserID(alice.ID))); return nil }); err != nil {
		t.Fatal(err)
	}
	if n := s.Core.Hub.Waiting(); n != others {
		t.Errorf("after their end: got %d waiting, want %d", n, others)
	}
}

// BenchmarkSyncLargeRoom is the first sync, and one after a message, of a
// device in a room of 5,000 members, with memberships loaded lazily.
func BenchmarkSyncLargeRoom(b *testing.B) {
	const lazy = "filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D"
	for _, name := range []string{"first", "next"} {
		b.Run(name, func(b *testing.B) {
			s := newBenchStage(b)
			u := s.device("alice", "A")
			s.fillRooms(u, 1, 5000, 20)
			path := v3 + "/sync?" + lazy
			if name == "next" {
				path += "&since=" + s.batch(u, "?"+lazy)
				if err := s.Core.Update(b.Context(), func(tx *db.Tx) error {
					return room.Append(tx, &room.Event{Room: "!room0:hs1", ID: "$new", Type: "m.room.encrypted", Sender: "@member3:hs1", Time: tx.Millis(), Depth: 9000, Content: []byte(`{"ciphertext":"x"}`)}, nil)
				}); err != nil {
					b.Fatal(err)
				}
			}
			s.run(func(int) { s.call(u, "GET", path, nil) })
		})
	}
}
