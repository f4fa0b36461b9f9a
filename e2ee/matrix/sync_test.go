package matrix_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// TestParseSyncRooms: one reading of a sync gives what the machine takes, and what is
// kept of a room beside it.
func TestParseSyncRooms(t *testing.T) {
	t.Parallel()
	in, err := matrix.ParseSync("s1", []byte(`{"next_batch":"s2","account_data":{"events":[{"type":"m.direct"},{"type":"x"}]},"rooms":{
		"join":{"!b:hs1":{"timeline":{"events":[{"type":"t"}],"limited":true,"prev_batch":"p"},"state":{"events":[{"type":"s"}]},"summary":{"m.heroes":["@a:hs1"]}},
			"!c:hs1":{"org.matrix.msc4222.state_after":{"events":[{"type":"after"}]}}},
		"invite":{"!a:hs1":{"invite_state":{"events":[{"type":"i"}]}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if in.Since != "s1" || in.NextBatch != "s2" || len(in.AccountData) != 2 || len(in.Rooms) != 3 {
		t.Fatalf("got %+v", in)
	}
	a, b, c := in.Rooms[0], in.Rooms[1], in.Rooms[2]
	if a.ID != "!a:hs1" || !a.Invited || len(a.State) != 1 || a.Heroes != nil || a.Prev != "" {
		t.Errorf("the invitation: got %+v", a)
	}
	if !b.Limited || b.Prev != "p" || fmt.Sprint(b.Heroes) != "[@a:hs1]" || len(b.Timeline) != 1 || len(b.State) != 1 || b.HasStateAfter {
		t.Errorf("the room: got %+v", b)
	}
	if !c.HasStateAfter || len(c.StateAfter) != 1 {
		t.Errorf("the room with the state after: got %+v", c)
	}
}

// TestParseSyncOfOtherTypes: a member that the machine does not look at is not
// worth the messages that came with it.
func TestParseSyncOfOtherTypes(t *testing.T) {
	t.Parallel()
	in, err := matrix.ParseSync("", []byte(`{"next_batch":"s2","account_data":7,"rooms":{"join":{"!a:hs1":{"timeline":{"events":[{"type":"t"}],"prev_batch":[]},"summary":{"m.heroes":"x"}}}}}`))
	if err != nil || len(in.Rooms) != 1 || len(in.Rooms[0].Timeline) != 1 || in.Rooms[0].Prev != "" || in.Rooms[0].Heroes != nil || in.AccountData != nil {
		t.Errorf("got %+v, %v", in, err)
	}
	for _, body := range []string{`{}`, `{"next_batch":7}`, `{"next_batch":"s","rooms":7}`, `{"next_batch":"s","to_device":{"events":7}}`, `[`} {
		if in, err := matrix.ParseSync("", []byte(body)); err == nil {
			t.Errorf("%s: got %+v", body, in)
		}
	}
}

// TestSince: the position is that of the last sync that was taken in.
func TestSince(t *testing.T) {
	t.Parallel()
	store := newMemory()
	m := matrix.New(e2ee.Env{Now: time.Now, Rand: rand.Reader}, "@a:hs1", "A")
	var at string
	since := func(tx e2ee.Tx) (err error) { at, err = matrix.Since(tx); return err }
	take := func(in matrix.In) error {
		return store.update(func(tx e2ee.Tx) error { _, err := m.Receive(tx, in); return err })
	}
	if err := store.update(since); err != nil || at != "" {
		t.Errorf("before the first: got %q, %v", at, err)
	}
	if err := take(matrix.In{NextBatch: "s1", Rooms: []matrix.InRoom{{ID: quinta.RoomID("!a:hs1"), Timeline: []json.RawMessage{[]byte(`{}`)}}}}); err != nil {
		t.Fatal(err)
	}
	if err := take(matrix.In{Since: "s0", NextBatch: "s2"}); err == nil {
		t.Error("a sync from another position was taken")
	}
	if err := store.update(since); err != nil || at != "s1" {
		t.Errorf("got %q, %v, want s1", at, err)
	}
}
