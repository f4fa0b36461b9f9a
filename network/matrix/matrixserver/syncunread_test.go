package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

// unread shows the counts of a room as "notify highlight".
func (r *reply) unread(room string) string {
	return fmt.Sprintf("%v %v", r.joined(room, "unread_notifications", "notification_count"), r.joined(room, "unread_notifications", "highlight_count"))
}

// read sends a receipt; thread may be empty.
func (u *user) read(room, kind, event, thread string) {
	u.s.t.Helper()
	body := object{}
	if thread != "" {
		body["thread_id"] = thread
	}
	u.post(v3+"/rooms/"+esc(room)+"/receipt/"+kind+"/"+esc(event), body).want(200)
}

func TestSyncUnread(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat", "name": "Room"})
		bob.say(s.room(t, bob), "elsewhere")
		alice.say(room, "before bob came")
		bob.join(room)
		f := bob.follow()
		is(t, "joined", f.sync().unread(room), "0 0")
		first := alice.say(room, "one")
		alice.say(room, "two")
		is(t, "two", f.next().unread(room), "2 0")
		alice.say(room, "look, bob!")
		is(t, "with a mention", f.next().unread(room), "3 1")
		is(t, "a new device", bob.sync().unread(room), "3 1")
		bob.read(room, "m.read", first, "")
		is(t, "one read", f.next().unread(room), "2 1")
		bob.say(room, "I am here")
		is(t, "answered", f.next().unread(room), "0 0")
		last := alice.say(room, "bob again")
		is(t, "again", f.next().unread(room), "1 1")

		// A private receipt on one device clears the count on the other, and
		// no one else learns of it.
		g := alice.follow()
		bob.login("PHONE").read(room, "m.read.private", last, "")
		is(t, "read on another device", f.next().unread(room), "0 0")
		is(t, "nobody else", g.next().at("rooms"), "<nil>")

		gone := alice.say(room, "bob bob bob")
		is(t, "mentioned", f.next().unread(room), "1 1")
		alice.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(gone)+"/r1", object{}).want(200)
		is(t, "taken back", f.next().unread(room), "0 0")

		bob.put(v3+"/pushrules/global/room/"+esc(room), object{"actions": []any{"dont_notify"}}).want(200)
		alice.say(room, "not notified")
		is(t, "muted", f.next().unread(room), "0 0")
		alice.say(room, "but bob is")
		is(t, "muted but mentioned", f.next().unread(room), "1 1")
		alice.set(room, "m.room.topic", "", object{"topic": "state does not count"}).want(200)
		is(t, "state", f.next().unread(room), "1 1")
	})
}

func TestSyncUnreadThreads(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat", "name": "Room"})
		bob.join(room)
		const apart = `filter={"room":{"timeline":{"unread_thread_notifications":true}}}`
		f, g := bob.follow(apart), bob.follow()
		root := alice.say(room, "root")
		alice.relate(room, "m.room.message", "m.thread", root, "in the thread")
		last := alice.relate(room, "m.room.message", "m.thread", root, "in the thread, bob")
		show := func(r *reply) string {
			return r.unread(room) + " " + strings.ReplaceAll(fmt.Sprint(r.joined(room, "unread_thread_notifications")), root, "root")
		}
		is(t, "apart", show(f.next()), "1 0 map[root:map[highlight_count:1 notification_count:2]]")
		is(t, "together", show(g.next()), "3 1 <nil>")
		bob.read(room, "m.read", root, "main")
		is(t, "main read", show(f.next()), "0 0 map[root:map[highlight_count:1 notification_count:2]]")
		bob.read(room, "m.read", last, root)
		is(t, "thread read", show(f.next()), "0 0 <nil>")
		alice.relate(room, "m.room.message", "m.thread", root, "more")
		end := alice.say(room, "and more")
		is(t, "more", show(f.next()), "1 0 map[root:map[highlight_count:0 notification_count:1]]")
		bob.read(room, "m.read", end, "")
		is(t, "all read", show(f.next()), "0 0 <nil>")
	})
}

// TestSyncUnreadBound: an account that never reads costs no more with the
// length of the room, and its counts do not grow without end.
func TestSyncUnreadBound(t *testing.T) {
	s := newStage(t)
	alice, bob := s.register("alice"), s.register("bob")
	room := alice.create(object{"preset": "public_chat", "name": "Room"})
	bob.join(room)
	for i := range 520 {
		alice.say(room, fmt.Sprint(i))
	}
	is(t, "counted", bob.sync().unread(room), "500 0")
}

func TestSyncEphemeral(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := s.room(t, alice, bob)
		event := alice.say(room, "hello")
		f := alice.follow()
		ephemeral := func(r *reply) string {
			list, _ := r.joined(room, "ephemeral", "events").([]any)
			var out []string
			for _, e := range list {
				out = append(out, strings.ReplaceAll(fmt.Sprint(at(e, "type"), " ", at(e, "content")), event, "EVENT"))
			}
			return strings.Join(out, "; ")
		}
		typing := func(on bool) {
			bob.put(v3+"/rooms/"+esc(room)+"/typing/"+esc(bob.ID), object{"typing": on, "timeout": 60000}).want(200)
		}
		typing(true)
		r := f.next()
		is(t, "typing", ephemeral(r), "m.typing map[user_ids:[@bob:hs1]]")
		is(t, "no timeline with it", r.timeline(room), "")
		is(t, "once", f.next().at("rooms"), "<nil>")
		is(t, "a new device", ephemeral(alice.sync()), "m.typing map[user_ids:[@bob:hs1]]")
		typing(false)
		is(t, "stopped", ephemeral(f.next()), "m.typing map[user_ids:[]]")
		is(t, "a new device", ephemeral(alice.sync()), "")

		bob.read(room, "m.read", event, "")
		got := ephemeral(f.next())
		if !strings.HasPrefix(got, "m.receipt map[EVENT:map[m.read:map[@bob:hs1:map[ts:") {
			t.Errorf("receipt: got %s", got)
		}
		bob.read(room, "m.read.private", event, "")
		is(t, "a private receipt", f.next().at("rooms"), "<nil>")
		alice.read(room, "m.read", event, "main")
		got = ephemeral(f.next())
		if !strings.Contains(got, "thread_id:main") {
			t.Errorf("receipt of a thread: got %s", got)
		}
		for filter, want := range map[string]int{`{}`: 1, `{"room":{"ephemeral":{"types":["m.typing"]}}}`: 0,
			`{"room":{"ephemeral":{"not_types":["m.receipt"]}}}`: 0, `{"room":{"ephemeral":{"not_rooms":["` + room + `"]}}}`: 0,
			`{"room":{"ephemeral":{"limit":0}}}`: 0} {
			r := alice.sync("filter=" + filter).want(200)
			list, _ := r.joined(room, "ephemeral", "events").([]any)
			if len(list) != want {
				t.Errorf("%s: got %v", filter, list)
			}
		}
	})
}

func TestSyncAccountData(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room := alice.create(object{})
		f := alice.follow()
		alice.put(v3+dataPath(alice, "", "m.direct"), object{"@bob:hs1": []string{room}}).want(200)
		alice.put(v3+"/user/"+esc(alice.ID)+"/rooms/"+esc(room)+"/tags/u.work", object{"order": 0.5}).want(200)
		r := f.next()
		is(t, "global", fmt.Sprint(r.at("account_data", "events")), "[map[content:map[@bob:hs1:["+room+"]] type:m.direct]]")
		is(t, "of the room", fmt.Sprint(r.joined(room, "account_data", "events")), "[map[content:map[tags:map[u.work:map[order:0.5]]] type:m.tag]]")
		is(t, "once", f.next().at("account_data"), "<nil>")
		alice.put(v3+dataPath(alice, "", "m.direct"), object{}).want(200)
		is(t, "removed", fmt.Sprint(f.next().at("account_data", "events")), "[map[content:map[] type:m.direct]]")
		is(t, "a new device", types(alice.sync().at("account_data", "events")), "m.push_rules")
		alice.put(v3+"/pushrules/global/override/mine", object{"actions": []any{"notify"}, "conditions": []any{}}).want(200)
		r = f.next()
		is(t, "push rules", types(r.at("account_data", "events")), "m.push_rules")
		if !strings.Contains(string(r.Raw), `"mine"`) {
			t.Error("push rules: the new one is not there")
		}
		event := alice.say(room, "read me")
		alice.post(v3+"/rooms/"+esc(room)+"/read_markers", object{"m.fully_read": event}).want(200)
		r = f.next()
		is(t, "read marker", fmt.Sprint(r.joined(room, "account_data", "events")), "[map[content:map[event_id:"+event+"] type:m.fully_read]]")

		// Stored before the room was joined: comes with the room.
		bob := s.register("bob")
		other := bob.create(object{"preset": "public_chat"})
		alice.put(v3+dataPath(alice, other, "x.before"), object{"a": 1}).want(200)
		is(t, "of a room not joined", f.next().at("rooms"), "<nil>")
		alice.join(other)
		is(t, "joined", types(f.next().joined(other, "account_data", "events")), "x.before")
	})
}

func TestPresence(t *testing.T) {
	s := newStage(t)
	alice, bob := s.register("alice"), s.register("bob")
	p := v3 + "/presence/" + esc(bob.ID) + "/status"
	bob.put(p, object{"presence": "online", "status_msg": "here"}).want(200)
	is(t, "bob", alice.get(p).want(200).Body, "map[presence:offline]")
	alice.put(p, object{"presence": "online"}).fails(403, "M_FORBIDDEN")
	bob.put(p, object{"presence": "asleep"}).fails(400, "M_INVALID_PARAM")
	bob.put(p, object{"presence": 1}).fails(400, "M_BAD_JSON")
	alice.get(v3+"/presence/@nobody:hs1/status").fails(404, "M_NOT_FOUND")
	alice.get(v3+"/presence/@bob:elsewhere/status").fails(404, "M_NOT_FOUND")
}
