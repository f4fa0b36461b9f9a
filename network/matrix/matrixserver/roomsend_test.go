package matrixserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestTxnInEvent: the sending device sees its transaction id in every read
// path.
func TestTxnInEvent(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room := alice.create(object{})
		id := alice.send(room, "m.room.message", "abc", object{"body": "x"}).want(200).text("event_id")
		is(t, "event", alice.room(room, "/event/"+esc(id)).at("unsigned", "transaction_id"), "abc")
		is(t, "messages", at(alice.room(room, "/messages?dir=b").at("chunk").([]any)[0], "unsigned", "transaction_id"), "abc")
		is(t, "context", alice.room(room, "/context/"+esc(id)).at("event", "unsigned", "transaction_id"), "abc")
		reply := alice.send(room, "m.room.message", "def", object{"body": "y", "m.relates_to": object{"rel_type": "m.thread", "event_id": id}}).want(200).text("event_id")
		rel := alice.get("/_matrix/client/v1/rooms/" + esc(room) + "/relations/" + esc(id)).want(200)
		is(t, "relations", words(at(rel.at("chunk").([]any)[0], "unsigned", "transaction_id"), at(rel.at("chunk").([]any)[0], "event_id") == reply), "def true")
	})
}

// TestTxnScopeOnLocalEcho: another device of the same user does not see it.
func TestTxnScopeOnLocalEcho(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		two := alice.login("TWO")
		bob := s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		id := alice.send(room, "m.room.message", "abc", object{"body": "x"}).want(200).text("event_id")
		for who, u := range map[string]*user{"second device": two, "other user": bob} {
			is(t, who, u.room(room, "/event/"+esc(id)).want(200).at("unsigned", "transaction_id"), "<nil>")
			is(t, who, at(u.room(room, "/messages?dir=b").at("chunk").([]any)[0], "unsigned", "transaction_id"), "<nil>")
		}
		again := alice.login(alice.Device)
		is(t, "the same device after a new login", again.room(room, "/event/"+esc(id)).at("unsigned", "transaction_id"), "abc")
	})
}

func TestTxnIdempotencyScopedToDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		two := alice.login("TWO")
		room := alice.create(object{})
		a := alice.send(room, "m.room.message", "1", object{"body": "a"}).text("event_id")
		b := two.send(room, "m.room.message", "1", object{"body": "b"}).text("event_id")
		if a == b {
			t.Error("two devices with the same transaction id got one event")
		}
		is(t, "both", bodies(alice.room(room, "/messages?dir=b&limit=2").at("chunk")), "b a")
	})
}

func TestTxnIdempotency(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room, other := alice.create(object{}), alice.create(object{})
		first := alice.send(room, "m.room.message", "1", object{"body": "a"}).text("event_id")
		is(t, "again", alice.send(room, "m.room.message", "1", object{"body": "other"}).want(200).text("event_id"), first)
		is(t, "by r0", alice.put("/_matrix/client/r0/rooms/"+esc(room)+"/send/m.room.message/1", object{}).want(200).text("event_id"), first)
		if alice.send(room, "org.other", "1", object{}).text("event_id") == first {
			t.Error("another type with the same transaction id got the same event")
		}
		if alice.send(other, "m.room.message", "1", object{}).text("event_id") == first {
			t.Error("another room with the same transaction id got the same event")
		}
		again := alice.login(alice.Device)
		is(t, "after a new login of the device", again.send(room, "m.room.message", "1", object{"body": "x"}).want(200).text("event_id"), first)
		auth := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": alice.ID}, "password": password}
		two := alice.login("TWO")
		auth["session"] = two.delete(v3+"/devices/"+esc(again.Device), object{}).want(401).text("session")
		two.delete(v3+"/devices/"+esc(again.Device), object{"auth": auth}).want(200)
		again = alice.login(alice.Device)
		if again.send(room, "m.room.message", "1", object{"body": "new"}).want(200).text("event_id") == first {
			t.Error("a new device with the id of one that was deleted got its event")
		}
		// Many at once make one event.
		var wg sync.WaitGroup
		got := make([]any, 8)
		for i := range got {
			wg.Go(func() { got[i] = again.send(room, "m.room.message", "2", object{"body": "p"}).at("event_id") })
		}
		wg.Wait()
		for _, g := range got {
			is(t, "at once", g, got[0])
		}
		is(t, "once each", bodies(again.room(room, "/messages?dir=b&limit=4").at("chunk")), "p new org.other a")
	})
}

func TestSendRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{})
		for _, c := range []struct {
			what, typ string
			body      any
			status    int
			code      string
		}{
			{"no JSON", "m.room.message", "{", 400, "M_NOT_JSON"},
			{"not UTF-8", "m.room.message", []byte("{\"a\":\"\xff\"}"), 400, "M_NOT_JSON"},
			{"list", "m.room.message", "[]", 400, "M_BAD_JSON"},
			{"fraction", "m.room.message", `{"a":1.1}`, 400, "M_BAD_JSON"},
			{"large integer", "m.room.message", `{"a":9007199254740992}`, 400, "M_BAD_JSON"},
			{"name twice", "m.room.message", `{"a":1,"a":2}`, 400, "M_BAD_JSON"},
			{"too deep", "m.room.message", strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), 400, "M_BAD_JSON"},
			{"too large", "m.room.message", object{"body": strings.Repeat("x", 65536)}, 413, "M_TOO_LARGE"},
			{"long type", strings.Repeat("t", 256), object{}, 413, "M_TOO_LARGE"},
			{"create", "m.room.create", object{}, 403, "M_FORBIDDEN"},
			{"member", "m.room.member", object{"membership": "join"}, 403, "M_FORBIDDEN"},
		} {
			r := alice.send(room, c.typ, c.what, c.body)
			if r.Status != c.status || r.at("errcode") != c.code {
				t.Errorf("%s: got %d %.200s, want %d %s", c.what, r.Status, r.Raw, c.status, c.code)
			}
		}
		bob.send(room, "m.room.message", "1", object{}).fails(403, "M_FORBIDDEN")
		alice.send("!none:hs1", "m.room.message", "1", object{}).fails(403, "M_FORBIDDEN")
		s.nobody().send(room, "m.room.message", "1", object{}).fails(401, "M_MISSING_TOKEN")
		alice.send(room, "m.room.message", strings.Repeat("t", 256), object{}).fails(400, "M_INVALID_PARAM")
		alice.send(room, "m.room.message", "large", object{"body": strings.Repeat("x", 60000)}).want(200)
	})
}

func TestRedact(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat", "initial_state": []object{{"type": "m.room.encryption", "content": object{"algorithm": "m.megolm.v1.aes-sha2"}}}})
		bob.join(room)
		hers, his := alice.say(room, "hers"), bob.say(room, "his")
		redact := func(u *user, id, txn string) *reply {
			return u.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(id)+"/"+txn, object{"reason": "r", "other": 1})
		}
		redact(bob, hers, "1").fails(403, "M_FORBIDDEN")
		redact(bob, "$none", "1").fails(404, "M_NOT_FOUND")
		redact(s.register("carol"), hers, "1").fails(403, "M_FORBIDDEN")
		red := redact(bob, his, "1").want(200).text("event_id")
		is(t, "again", redact(bob, his, "1").want(200).text("event_id"), red)
		e := alice.room(room, "/event/"+esc(his)).want(200)
		is(t, "redacted", words(len(e.at("content").(object)), e.at("unsigned", "redacted_because", "sender"), e.at("unsigned", "redacted_because", "content", "reason")), "0 @bob:hs1 r")
		redact(alice, hers, "2").want(200)
		redact(alice, hers, "3").want(200)
		is(t, "transaction ids are per redacted event", redact(bob, hers, "1").Status, 403)
		for _, typ := range []string{"m.room.create", "m.room.encryption"} {
			id := alice.room(room, "/state/"+typ+"?format=event").want(200).text("event_id")
			redact(alice, id, "x"+typ).fails(403, "M_FORBIDDEN")
			alice.send(room, "m.room.redaction", "y"+typ, object{"redacts": id}).want(200)
		}
		is(t, "still encrypted", alice.state(room, "m.room.encryption", "").at("algorithm"), "m.megolm.v1.aes-sha2")
		// A redaction sent as any other event works, by the same rights.
		another := bob.say(room, "another")
		s.register("dora").join(room)
		bob.send(room, "m.room.redaction", "z", object{"redacts": another}).want(200)
		is(t, "sent as an event", len(alice.room(room, "/event/"+esc(another)).at("content").(object)), 0)
		keeps := alice.say(room, "keeps")
		bob.send(room, "m.room.redaction", "w", object{"redacts": keeps}).want(200)
		is(t, "without the right", alice.room(room, "/event/"+esc(keeps)).at("content", "body"), "keeps")
	})
}

func TestDuplicateAnnotation(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		id := alice.say(room, "x")
		react := func(u *user, key, txn string) *reply {
			return u.send(room, "m.reaction", txn, object{"m.relates_to": object{"rel_type": "m.annotation", "event_id": id, "key": key}})
		}
		react(alice, "A", "1").want(200)
		react(alice, "A", "1").want(200)
		react(alice, "A", "2").fails(400, "M_DUPLICATE_ANNOTATION")
		react(alice, "B", "3").want(200)
		first := react(bob, "A", "4").want(200).text("event_id")
		bob.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(first)+"/5", object{}).want(200)
		react(bob, "A", "6").want(200)
	})
}

func TestState(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		first := alice.set(room, "org.x", "k/e y", object{"a": 1}).want(200).text("event_id")
		is(t, "the same again makes no event", alice.set(room, "org.x", "k/e y", object{"a": 1}).text("event_id"), first)
		second := alice.set(room, "org.x", "k/e y", object{"a": 2}).want(200).text("event_id")
		is(t, "read", alice.state(room, "org.x", "k/e y").at("a"), 2)
		e := alice.room(room, "/state/org.x/"+esc("k/e y")+"?format=event").want(200)
		is(t, "event", words(e.at("event_id") == second, e.at("state_key"), e.at("unsigned", "replaces_state") == first, e.at("unsigned", "prev_content", "a")), "true k/e y true 1")
		alice.put(v3+"/rooms/"+esc(room)+"/state/org.y", object{"b": 1}).want(200)
		alice.put(v3+"/rooms/"+esc(room)+"/state/org.z/", object{"b": 2}).want(200)
		is(t, "without key", alice.room(room, "/state/org.y/").want(200).at("b"), 1)
		is(t, "with an empty key", alice.room(room, "/state/org.z").want(200).at("b"), 2)
		alice.room(room, "/state/org.none").fails(404, "M_NOT_FOUND")
		bob.set(room, "org.x", "", object{}).fails(403, "M_FORBIDDEN")
		bob.set(room, "org.x", alice.ID, object{}).fails(403, "M_FORBIDDEN")
		alice.set(room, "org.x", bob.ID, object{}).fails(403, "M_FORBIDDEN")
		alice.set(room, "org.x", strings.Repeat("k", 256), object{}).fails(413, "M_TOO_LARGE")
		alice.set(room, "org.x", "", "[]").fails(400, "M_BAD_JSON")
		alice.set(room, "m.room.power_levels", "", object{"ban": "50"}).fails(403, "M_FORBIDDEN")
		alice.set(room, "m.room.canonical_alias", "", object{"alias": "#none:hs1"}).fails(400, "M_BAD_ALIAS")
		alice.set(room, "m.room.canonical_alias", "", object{"alias": "#a:elsewhere"}).fails(400, "M_BAD_ALIAS")
		alice.set(room, "m.room.canonical_alias", "", object{"alt_aliases": "x"}).fails(400, "M_BAD_JSON")
		alice.set(room, "m.room.canonical_alias", "", object{"alias": "none"}).fails(400, "M_INVALID_PARAM")
		carol := s.register("carol")
		carol.room(room, "/state").fails(403, "M_FORBIDDEN")
		carol.state(room, "m.room.name", "").fails(403, "M_FORBIDDEN")
		all := map[string]bool{}
		var list []any
		r := alice.room(room, "/state").want(200)
		list = r.list()
		for _, e := range list {
			all[fmt.Sprint(at(e, "type"), at(e, "state_key"))] = true
		}
		for _, want := range []string{"m.room.create", "m.room.member" + alice.ID, "m.room.member" + bob.ID, "m.room.power_levels", "org.xk/e y", "org.y", "org.z"} {
			if !all[want] {
				t.Errorf("the state lacks %s", want)
			}
		}
		// Who left sees the state as it was then.
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
		alice.set(room, "org.y", "", object{"b": 9}).want(200)
		is(t, "of one who left", bob.room(room, "/state/org.y").want(200).at("b"), 1)
		is(t, "his own leaving is there", bob.state(room, "m.room.member", bob.ID).at("membership"), "leave")
	})
}
