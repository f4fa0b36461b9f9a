package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestCreateRoomPresets(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		for _, c := range []struct {
			body                     object
			join, vis, guests, level string
		}{
			{object{}, "invite", "shared", "can_join", "<nil>"},
			{object{"visibility": "public"}, "public", "shared", "forbidden", "<nil>"},
			{object{"preset": "private_chat"}, "invite", "shared", "can_join", "<nil>"},
			{object{"preset": "trusted_private_chat", "invite": []string{bob.ID}}, "invite", "shared", "can_join", "100"},
			{object{"preset": "public_chat"}, "public", "shared", "forbidden", "<nil>"},
			{object{"preset": "public_chat", "initial_state": []object{{"type": "m.room.join_rules", "content": object{"join_rule": "knock"}}}}, "knock", "shared", "forbidden", "<nil>"},
		} {
			room := alice.create(c.body)
			what := fmt.Sprint(c.body)
			is(t, what, alice.state(room, "m.room.join_rules", "").want(200).at("join_rule"), c.join)
			is(t, what, alice.state(room, "m.room.history_visibility", "").want(200).at("history_visibility"), c.vis)
			is(t, what, alice.state(room, "m.room.guest_access", "").want(200).at("guest_access"), c.guests)
			pl := alice.state(room, "m.room.power_levels", "").want(200)
			is(t, what, pl.at("users", alice.ID), 100)
			is(t, what, pl.at("users", bob.ID), c.level)
			is(t, what, alice.state(room, "m.room.member", alice.ID).want(200).at("membership"), "join")
		}
	})
}

func TestCreateRoomContents(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.put(v3+"/profile/"+esc(alice.ID)+"/displayname", object{"displayname": "Alice"}).want(200)
		room := alice.create(object{
			"name": "Garden", "topic": "Roses", "room_alias_name": "garden", "invite": []string{bob.ID, alice.ID}, "is_direct": true,
			"creation_content":             object{"m.federate": false, "type": "m.space"},
			"power_level_content_override": object{"events_default": 7},
			"initial_state":                []object{{"type": "m.room.encryption", "state_key": "", "content": object{"algorithm": "m.megolm.v1.aes-sha2"}}},
		})
		is(t, "name", alice.state(room, "m.room.name", "").at("name"), "Garden")
		topic := alice.state(room, "m.room.topic", "")
		is(t, "topic", topic.at("topic"), "Roses")
		is(t, "m.topic", topic.at("m.topic", "m.text").([]any)[0], object{"body": "Roses"})
		is(t, "alias", alice.state(room, "m.room.canonical_alias", "").at("alias"), "#garden:hs1")
		is(t, "encryption", alice.state(room, "m.room.encryption", "").at("algorithm"), "m.megolm.v1.aes-sha2")
		create := alice.state(room, "m.room.create", "")
		is(t, "create", words(create.at("m.federate"), create.at("type"), create.at("room_version"), create.at("creator")), "false m.space 11 <nil>")
		pl := alice.state(room, "m.room.power_levels", "")
		is(t, "levels", words(pl.at("events_default"), pl.at("ban")), "7 50")
		own := alice.state(room, "m.room.member", alice.ID)
		is(t, "creator", words(own.at("membership"), own.at("displayname")), "join Alice")
		inv := alice.state(room, "m.room.member", bob.ID)
		is(t, "invited", words(inv.at("membership"), inv.at("is_direct")), "invite true")
		is(t, "directory", s.nobody().get(v3+"/directory/room/"+esc("#garden:hs1")).want(200).text("room_id"), room)
	})
}

func TestCreateRoomVersions(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		for v := 1; v <= 12; v++ {
			room := alice.create(object{"room_version": fmt.Sprint(v), "preset": "trusted_private_chat", "invite": []string{bob.ID}})
			create := alice.state(room, "m.room.create", "").want(200)
			is(t, "version", create.at("room_version"), fmt.Sprint(v))
			if (create.at("creator") != nil) != (v < 11) {
				t.Errorf("version %d: creator is %v", v, create.at("creator"))
			}
			if strings.Contains(room, ":") == (v == 12) {
				t.Errorf("version %d: the room id is %s", v, room)
			}
			bob.join(room)
			id := alice.say(room, "hello")
			if strings.Contains(id, ":") != (v < 3) {
				t.Errorf("version %d: the event id is %s", v, id)
			}
			if v >= 4 && strings.ContainsAny(id, "+/") {
				t.Errorf("version %d: the event id %s is not for an URL", v, id)
			}
			is(t, "read", bob.room(room, "/event/"+esc(id)).want(200).at("content", "body"), "hello")
			bob.set(room, "m.room.name", "", object{"name": "mine too"}).want(200)
			gone := bob.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(id)+"/1", object{"reason": "x"}).want(200).text("event_id")
			e := alice.room(room, "/event/"+esc(id)).want(200)
			is(t, "redacted", words(len(e.at("content").(object)), e.at("unsigned", "redacted_because", "event_id")), "0 "+gone)
			r := alice.room(room, "/event/"+esc(gone)).want(200)
			is(t, "top level redacts", r.at("redacts"), id)
			if (r.at("content", "redacts") == id) != (v >= 11) {
				t.Errorf("version %d: redacts in the content is %v", v, r.at("content", "redacts"))
			}
			if v == 12 {
				is(t, "additional creators", create.at("additional_creators"), []string{bob.ID})
				is(t, "levels name no creator", alice.state(room, "m.room.power_levels", "").at("users"), object{})
				is(t, "id", "!"+alice.room(room, "/state/m.room.create?format=event").text("event_id")[1:], room)
			}
		}
	})
}

func TestCreateRoomRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.create(object{"room_alias_name": "taken"})
		for _, c := range []struct {
			what   string
			body   any
			status int
			code   string
		}{
			{"no JSON", "x", 400, "M_NOT_JSON"},
			{"list", "[]", 400, "M_BAD_JSON"},
			{"unknown version", object{"room_version": "org.example"}, 400, "M_UNSUPPORTED_ROOM_VERSION"},
			{"version as a number", object{"room_version": 9}, 400, "M_BAD_JSON"},
			{"unknown preset", object{"preset": "x"}, 400, "M_INVALID_PARAM"},
			{"unknown visibility", object{"visibility": "x"}, 400, "M_INVALID_PARAM"},
			{"taken alias", object{"room_alias_name": "taken"}, 400, "M_ROOM_IN_USE"},
			{"bad alias", object{"room_alias_name": "a b"}, 400, "M_INVALID_PARAM"},
			{"third-party invite", object{"invite_3pid": []object{{"medium": "email"}}}, 400, "M_INVALID_PARAM"},
			{"unknown user", object{"invite": []string{"@nobody:hs1"}}, 404, "M_NOT_FOUND"},
			{"user of another server", object{"invite": []string{"@bob:elsewhere"}}, 403, "M_FORBIDDEN"},
			{"no user id", object{"invite": []string{"bob"}}, 400, "M_INVALID_PARAM"},
			{"levels of the wrong type", object{"power_level_content_override": object{"ban": "50"}}, 400, "M_INVALID_ROOM_STATE"},
			{"levels that are a list", object{"power_level_content_override": []int{}}, 400, "M_BAD_JSON"},
			{"state without type", object{"initial_state": []object{{"content": object{}}}}, 400, "M_BAD_JSON"},
			{"state with a fraction", object{"initial_state": []object{{"type": "x", "content": object{"a": 1.5}}}}, 400, "M_BAD_JSON"},
			{"state that is create", object{"initial_state": []object{{"type": "m.room.create", "content": object{}}}}, 400, "M_INVALID_ROOM_STATE"},
			{"state of another's key", object{"initial_state": []object{{"type": "x", "state_key": "@b:hs1", "content": object{}}}}, 400, "M_INVALID_ROOM_STATE"},
			{"canonical alias elsewhere", object{"initial_state": []object{{"type": "m.room.canonical_alias", "content": object{"alias": "#taken:hs1"}}}}, 400, "M_BAD_ALIAS"},
			{"creators that are no users", object{"room_version": "12", "creation_content": object{"additional_creators": []string{"x"}}}, 403, "M_FORBIDDEN"},
		} {
			r := alice.post(v3+"/createRoom", c.body)
			if r.Status != c.status || r.at("errcode") != c.code {
				t.Errorf("%s: got %d %s, want %d %s", c.what, r.Status, r.Raw, c.status, c.code)
			}
		}
		if n := len(alice.get(v3 + "/joined_rooms").want(200).at("joined_rooms").([]any)); n != 1 {
			t.Errorf("after refused creations alice is in %d rooms, want 1: something was half done", n)
		}
		s.nobody().post(v3+"/createRoom", object{}).fails(401, "M_MISSING_TOKEN")
		alice.post("/_matrix/client/r0/createRoom", object{}).want(200)
	})
}
