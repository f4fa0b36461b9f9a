package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/room"
)

// receipts lists the receipts of a room.
func (s *stage) receipts(id string) string {
	s.t.Helper()
	var out []string
	err := s.Core.View(s.t.Context(), func(tx *db.Tx) error {
		list, err := room.Receipts(tx, quinta.RoomID(id), room.Range{To: 1 << 60})
		for _, r := range list {
			out = append(out, strings.TrimSpace(fmt.Sprint(r.Member, " ", r.Kind, " ", r.Event, " ", r.Thread)))
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

func TestReceipts(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.create(object{"preset": "public_chat"})
		bob.join(id)
		a, b := alice.say(id, "a"), alice.say(id, "b")
		in := alice.send(id, "m.room.message", "t", object{"body": "in", "m.relates_to": object{"rel_type": "m.thread", "event_id": a}}).text("event_id")
		post := func(u *user, kind, event string, body any) *reply {
			return u.post(v3+"/rooms/"+esc(id)+"/receipt/"+kind+"/"+esc(event), body)
		}
		post(bob, "m.read", b, object{}).want(200)
		post(bob, "m.read", a, nil).want(200) // older: stays at b
		post(bob, "m.read.private", a, object{}).want(200)
		post(bob, "m.read", in, object{"thread_id": a}).want(200)
		post(alice, "m.read", b, object{"thread_id": "main"}).want(200)
		is(t, "receipts", s.receipts(id), fmt.Sprintf("@bob:hs1 m.read %s, @bob:hs1 m.read.private %s, @bob:hs1 m.read %s %s, @alice:hs1 m.read %s main", b, a, in, a, b))
		post(bob, "m.fully_read", a, object{}).want(200)
		is(t, "fully read", bob.get(v3+"/user/"+esc(bob.ID)+"/rooms/"+esc(id)+"/account_data/m.fully_read").want(200).at("event_id"), a)
		post(bob, "m.seen", a, object{}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.read", a, object{"thread_id": ""}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.read", a, object{"thread_id": 3}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.read", b, object{"thread_id": a}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.read", in, object{"thread_id": "main"}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.fully_read", a, object{"thread_id": "main"}).fails(400, "M_INVALID_PARAM")
		post(bob, "m.read", "$none", object{}).fails(404, "M_NOT_FOUND")
		post(s.register("carol"), "m.read", a, object{}).fails(403, "M_FORBIDDEN")
	})
}

func TestReadMarkers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.create(object{})
		a, b := alice.say(id, "a"), alice.say(id, "b")
		path := v3 + "/rooms/" + esc(id) + "/read_markers"
		alice.post(path, object{"m.fully_read": a, "m.read": b, "m.read.private": b}).want(200)
		is(t, "receipts", s.receipts(id), fmt.Sprintf("@alice:hs1 m.read %s, @alice:hs1 m.read.private %s", b, b))
		is(t, "marker", alice.get(v3+"/user/"+esc(alice.ID)+"/rooms/"+esc(id)+"/account_data/m.fully_read").want(200).at("event_id"), a)
		alice.post(path, object{}).want(200)
		alice.post(path, object{"m.read": 3}).fails(400, "M_BAD_JSON")
		alice.post(path, object{"m.fully_read": "$none", "m.read": b}).fails(404, "M_NOT_FOUND")
		s.register("bob").post(path, object{"m.read": a}).fails(403, "M_FORBIDDEN")
	})
}

func TestTyping(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.create(object{"preset": "public_chat"})
		bob.join(id)
		typing := func() string {
			var who []quinta.UserID
			if err := s.Core.View(t.Context(), func(tx *db.Tx) (err error) {
				who, _, err = room.Typing(tx, quinta.RoomID(id), 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(who)
		}
		path := v3 + "/rooms/" + esc(id) + "/typing/"
		bob.put(path+esc(bob.ID), object{"typing": true, "timeout": 60000}).want(200)
		is(t, "typing", typing(), "[@bob:hs1]")
		bob.put(path+esc(bob.ID), object{"typing": false}).want(200)
		is(t, "stopped", typing(), "[]")
		w := s.Core.Hub.Wait(feed.Room("matrix", quinta.RoomID(id)))
		defer w.Close()
		bob.put(path+esc(bob.ID), object{"typing": true, "timeout": 1}).want(200)
		deadline := time.After(time.Minute)
		for typing() != "[]" {
			select {
			case <-w.C():
			case <-deadline:
				t.Fatal("the end of the typing was never seen")
			}
		}
		alice.put(path+esc(bob.ID), object{"typing": true}).fails(403, "M_FORBIDDEN")
		bob.put(path+esc(bob.ID), object{}).fails(400, "M_MISSING_PARAM")
		bob.put(path+esc(bob.ID), object{"typing": 1}).fails(400, "M_BAD_JSON")
		carol := s.register("carol")
		carol.put(path+esc(carol.ID), object{"typing": true}).fails(403, "M_FORBIDDEN")
	})
}
