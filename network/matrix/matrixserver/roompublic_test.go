package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		other := bob.create(object{})
		dir := v3 + "/directory/room/"
		alice.put(dir+esc("#a b:hs1"), object{"room_id": room}).fails(400, "M_INVALID_PARAM")
		alice.put(dir+esc("#a:elsewhere"), object{"room_id": room}).fails(400, "M_INVALID_PARAM")
		alice.put(dir+esc("a"), object{"room_id": room}).fails(400, "M_INVALID_PARAM")
		alice.put(dir+esc("#a:hs1"), object{}).fails(400, "M_MISSING_PARAM")
		alice.put(dir+esc("#a:hs1"), object{"room_id": other}).fails(403, "M_FORBIDDEN")
		alice.put(dir+esc("#a:hs1"), object{"room_id": room}).want(200)
		alice.put(dir+esc("#a/b:hs1"), object{"room_id": room}).want(200)
		bob.put(dir+esc("#a:hs1"), object{"room_id": other}).fails(409, "M_UNKNOWN")
		r := s.nobody().get(dir + esc("#a:hs1")).want(200)
		is(t, "look-up", words(r.text("room_id") == room, r.at("servers")), "true [hs1]")
		s.nobody().get(dir+esc("#none:hs1")).fails(404, "M_NOT_FOUND")
		s.nobody().get(dir+esc("#a:elsewhere")).fails(404, "M_NOT_FOUND")
		s.nobody().get(dir+esc("none")).fails(400, "M_INVALID_PARAM")
		is(t, "of the room", alice.room(room, "/aliases").want(200).at("aliases"), "[#a/b:hs1 #a:hs1]")
		bob.room(room, "/aliases").fails(403, "M_FORBIDDEN")
		alice.set(room, "m.room.canonical_alias", "", object{"alias": "#a:hs1", "alt_aliases": []string{"#a/b:hs1"}}).want(200)
		bob.join(room)
		bob.delete(dir+esc("#a:hs1"), nil).fails(403, "M_FORBIDDEN")
		alice.delete(dir+esc("#a:hs1"), nil).want(200)
		alice.delete(dir+esc("#a:hs1"), nil).fails(404, "M_NOT_FOUND")
		is(t, "gone from the event", alice.state(room, "m.room.canonical_alias", "").Body, "map[alt_aliases:[#a/b:hs1]]")
		alice.delete(dir+esc("#a/b:hs1"), nil).want(200)
		is(t, "all gone", alice.state(room, "m.room.canonical_alias", "").Body, "map[alt_aliases:[]]")
		bob.put(dir+esc("#bob:hs1"), object{"room_id": room}).want(200)
		bob.delete(dir+esc("#bob:hs1"), nil).want(200)
		alice.set(room, "m.room.history_visibility", "", object{"history_visibility": "world_readable"}).want(200)
		s.register("carol").room(room, "/aliases").want(200)
	})
}

func names(chunk any) string {
	var out []string
	for _, r := range chunk.([]any) {
		out = append(out, fmt.Sprint(at(r, "name")))
	}
	return strings.Join(out, " ")
}

func TestPublicRooms(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		for i := range 4 {
			body := object{"visibility": "public", "name": fmt.Sprint("r", i), "topic": fmt.Sprint("Topic ", i%2)}
			if i == 3 {
				body["creation_content"] = object{"type": "m.space"}
				body["room_alias_name"] = "space"
			}
			room := alice.create(body)
			if i == 1 {
				bob.join(room)
			}
		}
		alice.create(object{"name": "hidden"})
		all := s.nobody().get(v3 + "/publicRooms").want(200)
		first := all.at("chunk").([]any)[0]
		is(t, "most members first", words(at(first, "name"), at(first, "num_joined_members"), at(first, "join_rule"), at(first, "world_readable"), at(first, "guest_can_join"), at(first, "topic"), all.at("total_room_count_estimate")),
			"r1 2 public false false Topic 1 4")
		page := alice.get(v3 + "/publicRooms?limit=3").want(200)
		next := alice.get(v3 + "/publicRooms?limit=3&since=" + page.text("next_batch")).want(200)
		is(t, "pages", words(len(page.at("chunk").([]any)), len(next.at("chunk").([]any)), next.at("next_batch")), "3 1 <nil>")
		is(t, "back", names(alice.get(v3+"/publicRooms?limit=3&since="+next.text("prev_batch")).at("chunk")), names(page.at("chunk")))
		if got := names(page.at("chunk")) + " " + names(next.at("chunk")); len(strings.Fields(got)) != 4 {
			t.Errorf("pages give %s", got)
		}
		for _, c := range []struct {
			filter object
			n      int
		}{
			{object{"generic_search_term": "R2"}, 1}, {object{"generic_search_term": "topic 1"}, 2}, {object{"generic_search_term": "#space"}, 1},
			{object{"generic_search_term": "hidden"}, 0}, {object{"room_types": []any{"m.space"}}, 1}, {object{"room_types": []any{nil}}, 3}, {object{"room_types": []any{nil, "m.space"}}, 4},
		} {
			is(t, fmt.Sprint(c.filter), len(alice.post(v3+"/publicRooms", object{"filter": c.filter}).want(200).at("chunk").([]any)), c.n)
		}
		found := alice.post(v3+"/publicRooms", object{"limit": 1, "filter": object{"generic_search_term": "topic 1"}}).want(200)
		rest := alice.post(v3+"/publicRooms", object{"limit": 1, "since": found.text("next_batch"), "filter": object{"generic_search_term": "topic 1"}}).want(200)
		is(t, "search in pages", names(found.at("chunk"))+" "+names(rest.at("chunk")), "r1 r3")
		alice.get(v3+"/publicRooms?since=x").fails(400, "M_INVALID_PARAM")
		alice.get(v3+"/publicRooms?limit=0").fails(400, "M_INVALID_PARAM")
		alice.post(v3+"/publicRooms", object{"limit": -1}).fails(400, "M_INVALID_PARAM")
		alice.get(v3+"/publicRooms?server=elsewhere").fails(403, "M_FORBIDDEN")
		s.nobody().post(v3+"/publicRooms", object{}).fails(401, "M_MISSING_TOKEN")
	})
}

func TestListed(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		path := v3 + "/directory/list/room/" + esc(room)
		is(t, "at first", s.nobody().get(path).want(200).at("visibility"), "private")
		bob.put(path, object{"visibility": "public"}).fails(403, "M_FORBIDDEN")
		alice.put(path, object{"visibility": "x"}).fails(400, "M_INVALID_PARAM")
		alice.put(path, object{"visibility": "public"}).want(200)
		is(t, "then", s.nobody().get(path).want(200).at("visibility"), "public")
		alice.put(path, object{"visibility": "private"}).want(200)
		is(t, "at last", s.nobody().get(path).want(200).at("visibility"), "private")
		s.nobody().get(v3+"/directory/list/room/"+esc("!none:hs1")).fails(404, "M_NOT_FOUND")
		alice.put(v3+"/directory/list/room/"+esc("!none:hs1"), object{}).fails(404, "M_NOT_FOUND")
	})
}

func TestRoomSummary(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat", "name": "N", "room_alias_name": "n", "initial_state": []object{{"type": "m.room.encryption", "content": object{"algorithm": "a"}}}})
		path := "/_matrix/client/v1/room_summary/"
		for _, id := range []string{room, "#n:hs1"} {
			r := bob.get(path + esc(id)).want(200)
			is(t, id, words(r.at("room_id") == room, r.at("name"), r.at("canonical_alias"), r.at("encryption"), r.at("room_version"), r.at("membership"), r.at("num_joined_members")), "true N #n:hs1 a 11 leave 1")
		}
		is(t, "of a member", alice.get(path+esc(room)).at("membership"), "join")
		hidden := alice.create(object{})
		bob.get(path+esc(hidden)).fails(404, "M_NOT_FOUND")
		bob.get(path+esc("!none:hs1")).fails(404, "M_NOT_FOUND")
		alice.invite(hidden, bob)
		is(t, "of one invited", bob.get(path+esc(hidden)).want(200).at("membership"), "invite")
		club := alice.create(object{"initial_state": []object{{"type": "m.room.join_rules", "content": object{"join_rule": "restricted", "allow": []object{{"type": "m.room_membership", "room_id": room}}}}}})
		bob.get(path+esc(club)).fails(404, "M_NOT_FOUND")
		bob.join(room)
		is(t, "restricted", bob.get(path+esc(club)).want(200).at("allowed_room_ids"), []string{room})
	})
}
