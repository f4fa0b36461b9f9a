package matrix_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// records counts the records of a client below each first part of their keys,
// and their bytes. What follows the device lists counts as one.
func (c *client) records() (n map[string]int, bytes int) {
	n = map[string]int{}
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		for e, err := range tx.All("") {
			if err != nil {
				return nil, err
			}
			first, _, _ := strings.Cut(e.Key, "/")
			n[first]++
			bytes += len(e.Key) + len(e.Value)
		}
		return nil, nil
	})
	return n, bytes
}

// TestFloods: what a stranger can send a device without end, of each type of
// to-device event, does not make its store grow without end.
func TestFloods(t *testing.T) {
	t.Parallel()
	const flood = 600
	any32 := func(i int) string {
		return base64.RawStdEncoding.EncodeToString([]byte(fmt.Sprintf("%032d", i)))
	}
	clear := func(typ string, content func(i int) any) func(s *stage, bob *client, eve *forger, i int) json.RawMessage {
		return func(_ *stage, _ *client, _ *forger, i int) json.RawMessage {
			return mustJSON(map[string]any{"type": typ, "sender": "@stranger:x", "content": content(i)})
		}
	}
	for name, make := range map[string]func(s *stage, bob *client, eve *forger, i int) json.RawMessage{
		"words on keys of rooms that Bob is not in": clear("m.room_key.withheld", func(i int) any {
			return map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": fmt.Sprintf("!%d:x", i), "session_id": any32(i), "code": "m.blacklisted"}
		}),
		"words on keys of Bob's room": clear("m.room_key.withheld", func(i int) any {
			return map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": any32(i), "code": "m.blacklisted"}
		}),
		"words that there is no session": clear("m.room_key.withheld", func(i int) any {
			return map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "code": "m.no_olm", "sender_key": any32(i)}
		}),
		"requests for keys": clear("m.room_key_request", func(i int) any {
			return map[string]any{"action": "request", "requesting_device_id": "X", "request_id": fmt.Sprint(i),
				"body": map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": any32(i)}}
		}),
		"requests for secrets": clear("m.secret.request", func(i int) any {
			return map[string]any{"action": "request", "name": "m.cross_signing.master", "requesting_device_id": "X", "request_id": fmt.Sprint(i)}
		}),
		"payloads of the wrong form": clear("m.room.encrypted", func(i int) any {
			return map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": any32(i), "ciphertext": map[string]any{}}
		}),
		"keys of rooms that Bob is not in": func(s *stage, bob *client, eve *forger, i int) json.RawMessage {
			if eve.line == nil {
				eve.line = eve.lineTo(bob)
			}
			m := eve.session(quinta.RoomID(fmt.Sprintf("!%d:x", i)))
			content := eve.sealWith(eve.line, bob, eve.payload(bob, "m.room_key", m.key(), nil))
			return mustJSON(map[string]any{"type": "m.room.encrypted", "sender": eve.user, "content": content})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bob, eve := withEve(t)
			before, _ := bob.records()
			for i := range flood {
				in := matrix.In{NextBatch: fmt.Sprint("f", i), ToDevice: []json.RawMessage{make(s, bob, eve, i)}}
				bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return bob.m.Receive(tx, in) })
			}
			after, bytes := bob.records()
			total := 0
			for first, n := range after {
				if first == "bound" {
					continue // three small entries a record, so bounded with them
				}
				total += n - before[first]
			}
			if total > 250 || bytes > 2<<20 {
				t.Errorf("%d events of a stranger: got %d records more, %d bytes: %v", flood, total, bytes, after)
			}
		})
	}
}

// TestGoneDevicesAreForgotten: a server that lists other devices with every
// query does not make the record of a user grow without end, and a device that
// was judged stays.
func TestGoneDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return bob.m.Decide(tx, eve.user, eve.device, eve.acc.Signing(), matrix.Reject)
	})
	devices := s.hs.users[eve.user].devices
	delete(devices, eve.device)
	for round := range 6 {
		for i := range 60 {
			id := quinta.DeviceID(fmt.Sprintf("R%dD%d", round, i))
			s.hs.login(eve.user, id)
			devices[id].keys = forgeDevice(t, s, eve.user, id)
		}
		s.hs.users[eve.user].changed = s.hs.next()
		turn(bob)
		for id := range devices {
			delete(devices, id)
		}
	}
	s.hs.users[eve.user].changed = s.hs.next()
	turn(bob)
	n, _ := bob.records()
	if most := 200 + 10; n["device"] > most || n["curve"] > most {
		t.Errorf("got %d devices and %d owners of keys, want at most %d", n["device"], n["curve"], most)
	}
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		user, found, err := e2ee.Load[struct {
			Devices map[quinta.DeviceID]struct{ Decision matrix.Decision }
		}](tx, "user/"+string(eve.user))
		if d, kept := user.Devices[eve.device]; !found || !kept || d.Decision != matrix.Reject {
			t.Errorf("got %v, want the device that Bob rejected kept", user.Devices[eve.device])
		}
		return nil, err
	})
}
