package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestJoinInviteLeave(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"room_alias_name": "den"})
		bob.post(v3+"/join/"+esc(room), nil).fails(403, "M_FORBIDDEN")
		bob.act(room, "invite", alice).fails(403, "M_FORBIDDEN")
		alice.invite(room, bob)
		is(t, "invited", alice.state(room, "m.room.member", bob.ID).at("membership"), "invite")
		bob.room(room, "/state").fails(403, "M_FORBIDDEN")
		is(t, "by alias", bob.post(v3+"/join/"+esc("#den:hs1"), object{"reason": "because", "foo": "bar", "membership": "ban"}).want(200).text("room_id"), room)
		m := alice.state(room, "m.room.member", bob.ID)
		is(t, "content", words(m.at("reason"), m.at("foo"), m.at("membership")), "because bar join")
		first := alice.room(room, "/state/m.room.member/"+esc(bob.ID)+"?format=event").text("event_id")
		bob.post(v3+"/rooms/"+esc(room)+"/join", nil).want(200)
		is(t, "joining again makes no event", alice.room(room, "/state/m.room.member/"+esc(bob.ID)+"?format=event").text("event_id"), first)
		is(t, "joined rooms", bob.get(v3+"/joined_rooms").at("joined_rooms"), []string{room})
		alice.act(room, "invite", bob).fails(403, "M_FORBIDDEN")
		bob.post(v3+"/rooms/"+esc(room)+"/forget", nil).fails(400, "M_UNKNOWN")
		bob.post(v3+"/rooms/"+esc(room)+"/leave", object{"reason": "bye"}).want(200)
		is(t, "left", alice.state(room, "m.room.member", bob.ID).at("membership"), "leave")
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
		bob.send(room, "m.room.message", "1", object{}).fails(403, "M_FORBIDDEN")
		is(t, "joined rooms", len(bob.get(v3+"/joined_rooms").at("joined_rooms").([]any)), 0)
		bob.room(room, "/state").want(200)
		bob.post(v3+"/rooms/"+esc(room)+"/forget", nil).want(200)
		bob.room(room, "/state").fails(403, "M_FORBIDDEN")
		s.register("carol").post(v3+"/rooms/"+esc(room)+"/forget", nil).fails(403, "M_FORBIDDEN")
	})
}

func TestJoinRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.post(v3+"/join/"+esc("!none:hs1"), nil).fails(404, "M_NOT_FOUND")
		alice.post(v3+"/join/"+esc("#none:hs1"), nil).fails(404, "M_NOT_FOUND")
		alice.post(v3+"/join/"+esc("#room:elsewhere"), nil).fails(404, "M_NOT_FOUND")
		alice.post(v3+"/join/x", nil).fails(400, "M_INVALID_PARAM")
		alice.post(v3+"/join/%23", nil).fails(400, "M_INVALID_PARAM")
		alice.post(v3+"/join/"+esc("!none:hs1"), "x").fails(400, "M_NOT_JSON")
		alice.post(v3+"/rooms/"+esc("!none:hs1")+"/leave", nil).fails(403, "M_FORBIDDEN")
	})
}

func TestKickBanUnban(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		carol.join(room)
		bob.act(room, "kick", carol).fails(403, "M_FORBIDDEN")
		bob.act(room, "ban", carol).fails(403, "M_FORBIDDEN")
		alice.post(v3+"/rooms/"+esc(room)+"/kick", object{}).fails(400, "M_MISSING_PARAM")
		alice.post(v3+"/rooms/"+esc(room)+"/kick", object{"user_id": "carol"}).fails(400, "M_INVALID_PARAM")
		alice.post(v3+"/rooms/"+esc(room)+"/kick", object{"user_id": 3}).fails(400, "M_BAD_JSON")
		alice.act(room, "kick", carol).want(200)
		is(t, "kicked", bob.state(room, "m.room.member", carol.ID).at("membership"), "leave")
		alice.act(room, "kick", carol).fails(403, "M_FORBIDDEN")
		alice.act(room, "unban", carol).fails(403, "M_FORBIDDEN")
		alice.post(v3+"/rooms/"+esc(room)+"/ban", object{"user_id": carol.ID, "reason": "noise"}).want(200)
		is(t, "reason", bob.state(room, "m.room.member", carol.ID).at("reason"), "noise")
		carol.post(v3+"/join/"+esc(room), nil).fails(403, "M_FORBIDDEN")
		alice.act(room, "invite", carol).fails(403, "M_FORBIDDEN")
		alice.act(room, "kick", carol).fails(403, "M_FORBIDDEN")
		bob.act(room, "unban", carol).fails(403, "M_FORBIDDEN")
		alice.act(room, "unban", carol).want(200)
		carol.join(room)
		carol.act(room, "kick", alice).fails(403, "M_FORBIDDEN")
		s.register("dora").act(room, "kick", bob).fails(403, "M_FORBIDDEN")
	})
}

func TestInviteRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room := alice.create(object{})
		path := v3 + "/rooms/" + esc(room) + "/invite"
		alice.post(path, object{}).fails(400, "M_MISSING_PARAM")
		alice.post(path, object{"user_id": "@nobody:hs1"}).fails(404, "M_NOT_FOUND")
		alice.post(path, object{"user_id": "@bob:elsewhere"}).fails(403, "M_FORBIDDEN")
		alice.post(path, object{"medium": "email", "address": "a@b.c", "id_server": "x"}).fails(400, "M_INVALID_PARAM")
		alice.post(v3+"/rooms/"+esc("!none:hs1")+"/invite", object{"user_id": alice.ID}).fails(403, "M_FORBIDDEN")
		alice.set(room, "m.room.member", "@nobody:hs1", object{"membership": "invite"}).fails(404, "M_NOT_FOUND")
	})
}

func TestKnock(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat", "initial_state": []object{{"type": "m.room.join_rules", "content": object{"join_rule": "knock"}}}})
		is(t, "knocked", bob.post(v3+"/knock/"+esc(room), object{"reason": "please"}).want(200).text("room_id"), room)
		is(t, "reason", alice.state(room, "m.room.member", bob.ID).at("reason"), "please")
		bob.post(v3+"/join/"+esc(room), nil).fails(403, "M_FORBIDDEN")
		alice.invite(room, bob)
		bob.post(v3+"/knock/"+esc(room), nil).fails(403, "M_FORBIDDEN")
		bob.join(room)
		other := alice.create(object{})
		bob.post(v3+"/knock/"+esc(other), nil).fails(403, "M_FORBIDDEN")
		bob.post(v3+"/knock/"+esc("!none:hs1"), nil).fails(404, "M_NOT_FOUND")
	})
}

// TestRestrictedJoin: a user who is in the room that the join rule names gets
// in; no one gets in by writing the event themselves.
func TestRestrictedJoin(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		club := alice.create(object{"preset": "public_chat"})
		bob.join(club)
		for _, rule := range []string{"restricted", "knock_restricted"} {
			room := alice.create(object{"initial_state": []object{{"type": "m.room.join_rules", "content": object{
				"join_rule": rule, "allow": []any{object{"type": "m.room_membership", "room_id": club}, object{"type": "x"}, 3}}}}})
			bob.join(room)
			is(t, rule, alice.state(room, "m.room.member", bob.ID).at("join_authorised_via_users_server"), alice.ID)
			carol.post(v3+"/join/"+esc(room), nil).fails(403, "M_FORBIDDEN")
			carol.set(room, "m.room.member", carol.ID, object{"membership": "join", "join_authorised_via_users_server": alice.ID}).fails(403, "M_FORBIDDEN")
			bob.set(room, "m.room.member", bob.ID, object{"membership": "join", "displayname": "B", "join_authorised_via_users_server": alice.ID}).want(200)
			alice.invite(room, carol)
			carol.join(room)
		}
	})
}

func TestProfileReachesRooms(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"invite": []string{bob.ID}})
		bob.put(v3+"/profile/"+esc(bob.ID)+"/displayname", object{"displayname": "Bobby"}).want(200)
		is(t, "an invitation keeps its profile", alice.state(room, "m.room.member", bob.ID).at("displayname"), "<nil>")
		bob.join(room)
		is(t, "at the join", alice.state(room, "m.room.member", bob.ID).at("displayname"), "Bobby")
		bob.put(v3+"/profile/"+esc(bob.ID)+"/displayname", object{"displayname": "Rob"}).want(200)
		bob.put(v3+"/profile/"+esc(bob.ID)+"/avatar_url", object{"avatar_url": "mxc://hs1/a"}).want(200)
		m := alice.state(room, "m.room.member", bob.ID)
		is(t, "after the change", words(m.at("displayname"), m.at("avatar_url"), m.at("membership")), "Rob mxc://hs1/a join")
		auth := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": bob.ID}, "password": password}
		auth["session"] = bob.post(v3+"/account/deactivate", object{}).want(401).text("session")
		bob.post(v3+"/account/deactivate", object{"auth": auth}).want(200)
		is(t, "after the end of the account", alice.state(room, "m.room.member", bob.ID).at("membership"), "leave")
	})
}

func TestGetRoomMembers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		r := alice.room(room, "/members").want(200)
		is(t, "members", memberships(r.at("chunk")), "alice:join bob:join")
		for _, e := range r.at("chunk").([]any) {
			if at(e, "room_id") != room || at(e, "event_id") == nil || at(e, "type") != "m.room.member" || at(e, "origin_server_ts") == nil {
				t.Errorf("member event lacks something: %v", e)
			}
		}
		s.register("carol").room(room, "/members").fails(403, "M_FORBIDDEN")
		alice.room("!none:hs1", "/members").fails(403, "M_FORBIDDEN")
		j := alice.room(room, "/joined_members").want(200)
		is(t, "joined", j.at("joined"), object{alice.ID: object{"display_name": nil, "avatar_url": nil}, bob.ID: object{"display_name": nil, "avatar_url": nil}})
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
		bob.room(room, "/joined_members").fails(403, "M_FORBIDDEN")
		alice.set(room, "m.room.member", alice.ID, object{"membership": "join", "displayname": "A", "avatar_url": "mxc://a/b"}).want(200)
		is(t, "joined", alice.room(room, "/joined_members").at("joined"), object{alice.ID: object{"display_name": "A", "avatar_url": "mxc://a/b"}})
	})
}

func TestGetRoomMembersAtPoint(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		alice.say(room, "hello")
		point := alice.room(room, "/messages?dir=b&limit=1").want(200).text("start")
		bob.join(room)
		is(t, "now", memberships(alice.room(room, "/members").at("chunk")), "alice:join bob:join")
		is(t, "then", memberships(alice.room(room, "/members?at="+esc(point)).want(200).at("chunk")), "alice:join")
		alice.room(room, "/members?at=x").fails(400, "M_INVALID_PARAM")
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
		s.register("carol").join(room)
		is(t, "of one who left", memberships(bob.room(room, "/members").want(200).at("chunk")), "alice:join bob:leave")
	})
}

func TestGetFilteredRoomMembers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		room := alice.create(object{"preset": "public_chat", "invite": []string{carol.ID}})
		bob.join(room)
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
		for q, want := range map[string]string{
			"?membership=join": "alice:join", "?membership=leave": "bob:leave", "?membership=invite": "carol:invite", "?membership=ban": "",
			"?not_membership=leave": "alice:join carol:invite", "?not_membership=join": "bob:leave carol:invite",
			"?membership=join&not_membership=leave": "alice:join", "?membership=leave&not_membership=leave": "",
		} {
			got := strings.Fields(memberships(alice.room(room, "/members"+q).want(200).at("chunk")))
			for _, w := range strings.Fields(want) {
				if !strings.Contains(fmt.Sprint(got), w) {
					t.Errorf("%s: got %v, want %s", q, got, want)
				}
			}
			is(t, q, len(got), len(strings.Fields(want)))
		}
		alice.room(room, "/members?membership=x").fails(400, "M_INVALID_PARAM")
	})
}
