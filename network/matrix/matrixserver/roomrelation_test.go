package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

// relate sends an event in relation to another.
func (u *user) relate(room, typ, rel, to, body string) string {
	u.s.t.Helper()
	return u.send(room, typ, "rel "+body, object{"body": body, "m.relates_to": object{"rel_type": rel, "event_id": to, "key": body}}).want(200).text("event_id")
}

func TestRelations(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		root := alice.say(room, "root")
		a := bob.relate(room, "m.room.message", "m.thread", root, "a")
		bob.relate(room, "m.reaction", "m.annotation", root, "b")
		alice.relate(room, "m.room.message", "m.thread", root, "c")
		bob.relate(room, "m.reaction", "m.annotation", a, "deep")
		path := "/_matrix/client/v1/rooms/" + esc(room) + "/relations/" + esc(root)
		for q, want := range map[string]string{
			"":                                      "c b a",
			"?dir=f":                                "a b c",
			"/m.thread":                             "c a",
			"/m.thread/m.room.message":              "c a",
			"/m.thread/m.reaction":                  "",
			"/m.annotation":                         "b",
			"?limit=2":                              "c b",
			"?recurse=true":                         "deep c b a",
			"/m.annotation/m.reaction?recurse=true": "deep b",
		} {
			is(t, q, bodies(bob.get(path+q).want(200).at("chunk")), want)
		}
		page := alice.get(path + "?limit=2").want(200)
		is(t, "next page", bodies(alice.get(path+"?limit=2&from="+page.text("next_batch")).want(200).at("chunk")), "a")
		page = alice.get(path + "?limit=2&dir=f").want(200)
		is(t, "next page forth", bodies(alice.get(path+"?limit=2&dir=f&from="+page.text("next_batch")).want(200).at("chunk")), "c")
		alice.get(path+"?dir=x").fails(400, "M_INVALID_PARAM")
		alice.get(path+"?from=x").fails(400, "M_INVALID_PARAM")
		alice.get(path+"?limit=0").fails(400, "M_INVALID_PARAM")
		alice.get("/_matrix/client/v1/rooms/"+esc(room)+"/relations/$none").fails(404, "M_NOT_FOUND")
		s.register("carol").get(path).fails(404, "M_NOT_FOUND")
	})
}

func TestBundledAggregations(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		root := alice.say(room, "root")
		edit := func(u *user, txn string) string {
			return u.send(room, "m.room.message", txn, object{"body": "* " + txn, "m.new_content": object{"body": txn}, "m.relates_to": object{"rel_type": "m.replace", "event_id": root}}).want(200).text("event_id")
		}
		first := edit(alice, "one")
		edit(bob, "not his")
		rel := func(u *user) any { return u.room(room, "/event/"+esc(root)).want(200).at("unsigned", "m.relations") }
		is(t, "edit", at(rel(bob), "m.replace", "event_id"), first)
		second := edit(alice, "two")
		is(t, "newer edit", at(rel(bob), "m.replace", "event_id"), second)
		is(t, "the content stays", alice.room(room, "/event/"+esc(root)).at("content", "body"), "root")
		ref := bob.relate(room, "org.x", "m.reference", root, "ref")
		is(t, "references", at(rel(bob), "m.reference", "chunk"), []any{object{"event_id": ref}})
		is(t, "no thread", at(rel(bob), "m.thread"), "<nil>")
		bob.relate(room, "m.room.message", "m.thread", root, "t1")
		t2 := bob.relate(room, "m.room.message", "m.thread", root, "t2")
		carol := s.register("carol")
		carol.join(room)
		is(t, "thread", words(at(rel(carol), "m.thread", "count"), at(rel(carol), "m.thread", "latest_event", "event_id") == t2, at(rel(carol), "m.thread", "current_user_participated"), at(rel(bob), "m.thread", "current_user_participated")), "2 true false true")
		bob.send(room, "m.room.message", "nested", object{"m.relates_to": object{"rel_type": "m.thread", "event_id": t2}}).fails(400, "M_UNKNOWN")
		alice.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(root)+"/r", object{}).want(200)
		is(t, "of a redacted event", rel(bob), "<nil>")
	})
}

func TestThreads(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		var roots []string
		for i := range 3 {
			roots = append(roots, alice.say(room, fmt.Sprint("root", i)))
		}
		alice.say(room, "lonely")
		for i, r := range roots {
			alice.relate(room, "m.room.message", "m.thread", r, fmt.Sprint("t", i))
		}
		bob.relate(room, "m.room.message", "m.thread", roots[0], "latest")
		path := "/_matrix/client/v1/rooms/" + esc(room) + "/threads"
		is(t, "threads", bodies(alice.get(path).want(200).at("chunk")), "root0 root2 root1")
		is(t, "participated", bodies(bob.get(path+"?include=participated").want(200).at("chunk")), "root0")
		page := bob.get(path + "?limit=2").want(200)
		is(t, "page", bodies(page.at("chunk")), "root0 root2")
		last := bob.get(path + "?limit=2&from=" + page.text("next_batch")).want(200)
		is(t, "last page", words(bodies(last.at("chunk")), last.at("next_batch")), "root1 <nil>")
		is(t, "summary", at(page.at("chunk").([]any)[0], "unsigned", "m.relations", "m.thread", "count"), 2)
		bob.get(path+"?include=x").fails(400, "M_INVALID_PARAM")
		s.register("carol").get(path).fails(403, "M_FORBIDDEN")
	})
}

func TestUpgrade(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		for _, c := range []struct{ from, to string }{{"9", "11"}, {"11", "12"}, {"12", "10"}, {"6", "6"}} {
			name := "u" + c.from + "." + c.to
			old := alice.create(object{"room_version": c.from, "visibility": "public", "name": "N", "topic": "T", "room_alias_name": name,
				"creation_content": object{"type": "m.space", "m.federate": true},
				"initial_state":    []object{{"type": "m.room.encryption", "content": object{"algorithm": "a"}}}})
			bob.join(old)
			levels := alice.state(old, "m.room.power_levels", "").Body
			levels["users"].(object)[carol.ID] = 42
			levels["kick"] = 33
			if c.from == "9" {
				levels["redact"] = "34"
			}
			alice.set(old, "m.room.power_levels", "", levels).want(200)
			alice.act(old, "ban", carol).want(200)
			path := v3 + "/rooms/" + esc(old) + "/upgrade"
			bob.post(path, object{"new_version": c.to}).fails(403, "M_FORBIDDEN")
			next := alice.post(path, object{"new_version": c.to}).want(200).text("replacement_room")
			is(t, "tombstone", alice.state(old, "m.room.tombstone", "").want(200).at("replacement_room"), next)
			create := alice.state(next, "m.room.create", "").want(200)
			is(t, "create", words(create.at("predecessor", "room_id") == old, create.at("type"), create.at("room_version")), "true m.space "+c.to)
			if c.to != "12" {
				id := alice.room(old, "/state/m.room.tombstone?format=event").text("event_id")
				is(t, "predecessor", create.at("predecessor", "event_id"), id)
			}
			for typ, want := range map[string]string{"m.room.name": "map[name:N]", "m.room.join_rules": "map[join_rule:public]", "m.room.encryption": "map[algorithm:a]",
				"m.room.history_visibility": "map[history_visibility:shared]", "m.room.canonical_alias": "map[alias:#" + name + ":hs1]"} {
				is(t, typ, alice.state(next, typ, "").want(200).Body, want)
			}
			pl := alice.state(next, "m.room.power_levels", "")
			mine := "100"
			if c.to == "12" {
				mine = "<nil>"
			}
			is(t, name+" levels", words(pl.at("users", carol.ID), pl.at("kick"), pl.at("users", alice.ID)), "42 33 "+mine)
			if c.from == "9" {
				is(t, "level that was a string", pl.at("redact"), 34)
			}
			is(t, "ban", alice.state(next, "m.room.member", carol.ID).at("membership"), "ban")
			is(t, "alias", s.nobody().get(v3+"/directory/room/"+esc("#"+name+":hs1")).text("room_id"), next)
			is(t, "listed", words(s.nobody().get(v3+"/directory/list/room/"+esc(next)).at("visibility"), s.nobody().get(v3+"/directory/list/room/"+esc(old)).at("visibility")), "public private")
			is(t, "the old room is quiet", words(alice.state(old, "m.room.power_levels", "").at("events_default"), alice.state(old, "m.room.power_levels", "").at("invite")), "50 50")
			bob.send(old, "m.room.message", "late", object{"body": "x"}).fails(403, "M_FORBIDDEN")
			bob.join(next)
		}
		room := alice.create(object{})
		path := v3 + "/rooms/" + esc(room) + "/upgrade"
		alice.post(path, object{"new_version": "99"}).fails(400, "M_UNSUPPORTED_ROOM_VERSION")
		alice.post(path, object{}).fails(400, "M_MISSING_PARAM")
		bob.post(path, object{"new_version": "11"}).fails(403, "M_FORBIDDEN")
		next := alice.post(path, object{"new_version": "12", "additional_creators": []string{bob.ID}}).want(200).text("replacement_room")
		is(t, "creators", alice.state(next, "m.room.create", "").at("additional_creators"), []string{bob.ID})
	})
}

func TestHierarchy(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		space := func(name string) string {
			return alice.create(object{"name": name, "preset": "public_chat", "creation_content": object{"type": "m.space"}})
		}
		child := func(parent, room string, content object) {
			content["via"] = []string{"hs1"}
			alice.set(parent, "m.space.child", room, content).want(200)
		}
		top, sub := space("top"), space("sub")
		r1, r2 := alice.create(object{"name": "r1", "preset": "public_chat"}), alice.create(object{"name": "r2", "preset": "public_chat"})
		hidden := alice.create(object{"name": "hidden"})
		child(top, r1, object{"order": "b"})
		child(top, sub, object{"order": "a", "suggested": true})
		child(top, hidden, object{"order": "c"})
		child(top, "!none:hs1", object{})
		child(sub, r2, object{})
		child(sub, top, object{}) // a circle
		alice.set(top, "m.space.child", "!gone:hs1", object{}).want(200)
		path := "/_matrix/client/v1/rooms/" + esc(top) + "/hierarchy"
		for q, want := range map[string]string{"": "top sub r2 r1", "?max_depth=1": "top sub r1", "?max_depth=0": "top", "?suggested_only=true": "top sub"} {
			is(t, q, names(bob.get(path+q).want(200).at("rooms")), want)
		}
		is(t, "of a member", names(alice.get(path).want(200).at("rooms")), "top sub r2 r1 hidden")
		first := bob.get(path + "?limit=1").want(200)
		var kids []string
		for _, k := range at(first.at("rooms").([]any)[0], "children_state").([]any) {
			kids = append(kids, fmt.Sprint(at(k, "state_key")))
			if at(k, "origin_server_ts") == nil || at(k, "sender") != alice.ID {
				t.Errorf("child lacks something: %v", k)
			}
		}
		is(t, "children", strings.Join(kids, " "), strings.Join([]string{sub, r1, hidden, "!none:hs1"}, " "))
		rest := bob.get(path + "?limit=9&from=" + first.text("next_batch")).want(200)
		is(t, "second page", words(names(rest.at("rooms")), rest.at("next_batch")), "sub r2 r1 <nil>")
		bob.get(path+"?max_depth=1&from="+first.text("next_batch")).fails(400, "M_INVALID_PARAM")
		bob.get(path+"?from=x").fails(400, "M_INVALID_PARAM")
		bob.get("/_matrix/client/v1/rooms/"+esc(hidden)+"/hierarchy").fails(403, "M_FORBIDDEN")
	})
}
