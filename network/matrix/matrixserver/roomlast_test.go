package matrixserver_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestRoomsOutliveTheServer: what was acknowledged is there after a restart,
// and a send that is repeated then makes no second event.
func TestRoomsOutliveTheServer(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			first := newStage(t, quintatest.Database(cfg))
			alice, bob := first.register("alice"), first.register("bob")
			room := alice.create(object{"preset": "public_chat", "room_alias_name": "den"})
			bob.join(room)
			id := alice.send(room, "m.room.message", "1", object{"body": "kept"}).want(200).text("event_id")
			end := alice.room(room, "/messages?dir=b&limit=1").want(200).text("end")
			first.Stop()

			second := newStage(t, quintatest.Database(cfg))
			alice.s, bob.s = second, second
			is(t, "the send repeated", alice.send(room, "m.room.message", "1", object{"body": "kept"}).want(200).text("event_id"), id)
			is(t, "bob reads", bodies(bob.room(room, "/messages?dir=b&limit=1").want(200).at("chunk")), "kept")
			is(t, "on from the old token", bodies(bob.room(room, "/messages?dir=b&limit=1&from="+end).want(200).at("chunk")), "m.room.member")
			is(t, "alias", bob.get(v3+"/directory/room/"+esc("#den:hs1")).want(200).text("room_id"), room)
			is(t, "members", memberships(bob.room(room, "/members").want(200).at("chunk")), "alice:join bob:join")
		})
	}
}

// TestOneOrderForAll: events sent at once by many are in one order for every
// reader, each once.
func TestOneOrderForAll(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		var wg sync.WaitGroup
		for i := range 60 {
			u := []*user{alice, bob}[i%2]
			wg.Go(func() { u.say(room, fmt.Sprint("m", i)) })
		}
		wg.Wait()
		const q = "/messages?dir=b&limit=60"
		a, b := alice.room(room, q).want(200).at("chunk").([]any), bob.room(room, q).want(200).at("chunk").([]any)
		seen := map[any]bool{}
		for i := range a {
			if at(a[i], "event_id") != at(b[i], "event_id") {
				t.Fatalf("event %d is %v for alice and %v for bob", i, at(a[i], "event_id"), at(b[i], "event_id"))
			}
			seen[at(a[i], "content", "body")] = true
		}
		is(t, "messages", len(seen), 60)
	})
}

// TestRoomLimits: too much is refused by M_LIMIT_EXCEEDED, and nothing is
// half done.
func TestRoomLimits(t *testing.T) {
	now := time.Now() // stands still, so that nothing is given back
	s := newStage(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return now }))
	alice := s.register("alice")
	var room string
	n := 0
	for range 40 {
		r := alice.post(v3+"/createRoom", object{})
		if r.Status != 200 {
			r.fails(429, "M_LIMIT_EXCEEDED")
			if r.Header.Get("Retry-After") == "" || r.at("retry_after_ms") == nil {
				t.Errorf("the refusal does not say when to try again: %s", r.Raw)
			}
			break
		}
		room = r.text("room_id")
		n++
	}
	is(t, "rooms made", len(alice.get(v3+"/joined_rooms").at("joined_rooms").([]any)), n)
	if n == 40 {
		t.Error("40 rooms at once were not too many")
	}
	refused := false
	for i := range 300 {
		r := alice.send(room, "m.room.message", fmt.Sprint(i), object{})
		if refused = r.Status == 429; refused {
			r.fails(429, "M_LIMIT_EXCEEDED")
			break
		}
	}
	if !refused {
		t.Error("300 events at once were not too many")
	}
}
