package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
	"github.com/quinta-chat/quinta/server/room"
)

// until makes calls until one is refused, and returns how many were not and the
// refusal.
func (s *stage) until(most int, call func(n int) *reply) (int, *reply) {
	s.t.Helper()
	for n := range most {
		if r := call(n); r.Status != 200 {
			return n, r
		}
	}
	s.t.Fatalf("%d calls, and none was refused", most)
	return 0, nil
}

// rows counts the rows of a table.
func (s *stage) rows(table string) (n int) {
	s.t.Helper()
	if err := s.Core.View(s.t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT COUNT(*) FROM ` + table).Scan(&n) }); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestAttackQuotaEmpty: what holds no bytes is bounded as well, since each takes
// a row: events without content, and sendings without messages.
func TestAttackQuotaEmpty(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.create(object{"preset": "public_chat"})
		bob.join(id)
		n, r := s.until(100, func(n int) *reply { return alice.send(id, "m", fmt.Sprint(n), object{}) })
		if r.fails(507, "M_RESOURCE_LIMIT_EXCEEDED"); n < 10 {
			t.Errorf("got %d empty events", n)
		}
		bob.send(id, "m", "x", object{}).want(200)
		n, r = s.until(100, func(n int) *reply { return alice.tell("m", fmt.Sprint(n), object{}) })
		if r.fails(429, "M_LIMIT_EXCEEDED"); n < 10 {
			t.Errorf("got %d empty sendings", n)
		}
		bob.tell("m", "x", object{}).want(200)
	}, quintatest.Quotas(quota.Limits{db.ClassMessages: 6000, db.ClassQueue: 5000}))
}

// TestAttackQuotaKeys: the one-time keys of an account are bounded over its
// devices and all algorithms, as are its fallback keys; those of a device that is
// removed are given back.
func TestAttackQuotaKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		phone := alice.login("PHONE")
		upload := func(by *user, kind string, n int) *reply {
			return by.post(v3+"/keys/upload", object{kind: object{fmt.Sprintf("alg%d:k%d", n, n): object{"key": strings.Repeat("k", 1000)}}})
		}
		if n, r := s.until(30, func(n int) *reply { return upload(phone, "one_time_keys", n) }); n < 10 {
			t.Errorf("got %d keys, %s", n, r.Raw)
		} else {
			r.fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		}
		upload(alice, "fallback_keys", 1).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		upload(bob, "one_time_keys", 1).want(200)
		phone.post(v3+"/logout", object{}).want(200)
		if n, r := s.until(30, func(n int) *reply { return upload(alice, "fallback_keys", n) }); n < 10 {
			t.Errorf("got %d fallback keys, %s", n, r.Raw)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassData: 20_000}))
}

// TestAttackReceiptThreads: what belongs to another event does not open a thread
// of any name, so receipts are bounded by the events of the room.
func TestAttackReceiptThreads(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.create(object{})
		root := alice.say(id, "root")
		in := alice.send(id, "m.room.message", "t", object{"body": "in", "m.relates_to": object{"rel_type": "m.thread", "event_id": root}}).text("event_id")
		react := func(to string) string {
			return alice.send(id, "m.reaction", "r"+to, object{"m.relates_to": object{"rel_type": "m.annotation", "event_id": to, "key": "+"}}).text("event_id")
		}
		post := func(event, thread string) *reply {
			return alice.post(v3+"/rooms/"+esc(id)+"/receipt/m.read/"+esc(event), object{"thread_id": thread})
		}
		post(react(in), root).want(200)
		post(react(root), root).want(200)
		post(react(root), "main").want(200)
		before := s.rows("room_receipt")
		for n := range 5 {
			post(react(in), fmt.Sprintf("$made-up-%d", n)).fails(400, "M_INVALID_PARAM")
		}
		if got := s.rows("room_receipt"); got != before {
			t.Errorf("got %d receipts, want %d", got, before)
		}
	})
}

// TestAttackAliases: the aliases that a user makes are bounded, over all rooms.
func TestAttackAliases(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.create(object{"preset": "public_chat"})
		bob.join(id)
		if err := s.Core.Update(t.Context(), func(tx *db.Tx) error {
			for n := range room.MaxAliases - 1 {
				if err := room.PutAlias(tx, room.Alias{Alias: fmt.Sprintf("#a%d:hs1", n), Room: "!other:hs1", Creator: "@alice:hs1"}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		put := func(by *user, alias string) *reply {
			return by.put(v3+"/directory/room/"+esc(alias), object{"room_id": id})
		}
		put(alice, "#last:hs1").want(200)
		put(alice, "#more:hs1").fails(429, "M_LIMIT_EXCEEDED")
		put(bob, "#more:hs1").want(200)
		alice.delete(v3+"/directory/room/"+esc("#last:hs1"), nil).want(200)
		put(alice, "#last:hs1").want(200)
	})
}

// TestAttackPushRules: the push rules of a user are bounded together.
func TestAttackPushRules(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		var conditions []any
		for range 30 {
			conditions = append(conditions, object{"kind": "event_match", "key": "content.body", "pattern": strings.Repeat("x", 1000)})
		}
		n, r := s.until(50, func(n int) *reply {
			return alice.put(fmt.Sprintf("%s/pushrules/global/override/r%d", v3, n), object{"actions": []any{"notify"}, "conditions": conditions})
		})
		if r.fails(413, "M_TOO_LARGE"); n < 3 {
			t.Errorf("got %d rules", n)
		}
	})
}

// TestAttackPusherFlood: notifications do not pile up for a gateway that does not
// answer.
func TestAttackPusherFlood(t *testing.T) {
	t.Parallel()
	s := newStage(t, quintatest.Setting("private-gateways", "on"))
	alice, bob := s.register("alice"), s.register("bob")
	id := alice.create(object{"preset": "public_chat"})
	bob.join(id)
	bob.post(v3+"/pushers/set", (&gateway{url: "http://127.0.0.1:1/_matrix/push/v1/notify"}).pusher("")).want(200)
	const sent, most = 230, 200
	for n := range sent {
		alice.send(id, "m.room.message", fmt.Sprint(n), object{"msgtype": "m.text", "body": "hello"}).want(200)
	}
	for i := 0; s.rows("matrix_push_event") > 0 || s.rows("matrix_push") == 0; i++ {
		if i > 500 {
			t.Fatal("the events were not looked at")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := s.rows("matrix_push"); got > most || got < most/2 {
		t.Errorf("got %d notifications that wait, want about %d", got, most)
	}
}
