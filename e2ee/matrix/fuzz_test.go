package matrix_test

import (
	"encoding/json"
	"runtime"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// FuzzReceive gives a machine any sync: it must neither fail nor forget what
// it is.
func FuzzReceive(f *testing.F) {
	s, alice, bob := pair(f)
	alice.says("!r:x", "hello")
	f.Add(s.hs.sync("@bob:x", "BOB", "0"))
	f.Add([]byte(`{"next_batch":"1","to_device":{"events":[{"type":"m.room_key_request","sender":"@bob:x","content":{"action":"request","requesting_device_id":"X","request_id":"1","body":{}}}]}}`))
	f.Add([]byte(`{"next_batch":"1","device_lists":{"changed":["@x:y"],"left":["@alice:x"]},"device_one_time_keys_count":{"signed_curve25519":-5},"device_unused_fallback_key_types":[]}`))
	f.Add([]byte(`{"next_batch":"1","rooms":{"join":{"!r:x":{"timeline":{"events":[{"type":"m.room.encryption","state_key":"","sender":"@x:y","content":{"algorithm":{}}}]}}}}}`))
	start := bob.mem
	// Work that is spread over goroutines covers something else each time, and
	// the fuzzer would spend its time on the difference.
	runtime.GOMAXPROCS(1)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := matrix.ParseSync("", raw)
		if err != nil {
			return
		}
		c := *bob
		c.mem = start.clone()
		c.s = &stage{t: t, hs: s.hs, seed: 77}
		c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return c.m.Receive(tx, in) })
		for _, r := range c.outgoing() {
			if r.Body != nil && !json.Valid(r.Body) {
				t.Errorf("%s %s: the body is not JSON: %q", r.Kind, r.Path, r.Body)
			}
		}
		c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			r, err := c.m.Room(tx, "!r:x")
			if !r.Encrypted {
				t.Error("the room is not encrypted any more")
			}
			return nil, err
		})
	})
}

// FuzzDone gives a machine any answer to what it asked.
func FuzzDone(f *testing.F) {
	s := newStage(f)
	alice := s.login("@alice:x", "ALICE")
	s.login("@bob:x", "BOB")
	s.hs.create("!r:x", "@alice:x", "@bob:x")
	alice.sync()
	queries := alice.outgoing()
	f.Add([]byte(`{"device_keys":{"@bob:x":{"BOB":{}}},"failures":{}}`))
	f.Add([]byte(s.hs.handle("@alice:x", "ALICE", queries[0]).Body))
	f.Add([]byte(`{"one_time_key_counts":{"signed_curve25519":1}}`))
	start := alice.mem
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := *alice
		c.mem = start.clone()
		c.s = &stage{t: t, hs: s.hs, seed: 99}
		c.send("!r:x", "hello")
		for range 4 {
			for _, r := range c.outgoing() {
				c.done(r, matrix.Ans{Body: raw})
			}
		}
	})
}
