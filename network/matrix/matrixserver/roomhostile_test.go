package matrixserver_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHostileNames is the attack "SQL by event id" and its kin: whatever a
// client writes into a path or an id reaches nothing but what it names.
func TestHostileNames(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room := alice.create(object{})
		id := alice.say(room, "kept")
		for _, x := range []string{
			`$'; DROP TABLE room_event; --`, `' OR '1'='1`, `"; DELETE FROM room; --`, `%`, `_`, `\`, `$1`, `?`, `../..`, `%2e%2e`, "\u2028", "💥",
			strings.Repeat("a", 5000), "__proto__", "constructor", "a\x00b", "\xff",
		} {
			for _, path := range []string{
				"/rooms/" + esc(room) + "/event/" + esc(x), "/rooms/" + esc(room) + "/context/" + esc(x), "/rooms/" + esc(x) + "/messages?dir=b",
				"/rooms/" + esc(x) + "/state", "/rooms/" + esc(room) + "/state/" + esc(x) + "/" + esc(x), "/rooms/" + esc(x) + "/members", "/directory/room/" + esc(x),
				"/rooms/" + esc(room) + "/messages?dir=b&from=" + strings.ReplaceAll(esc(x), "&", "%26"), "/directory/list/room/" + esc(x),
			} {
				if r := alice.get(v3 + path); r.Status < 400 || r.Status >= 500 || r.at("errcode") == nil {
					t.Errorf("GET %q: got %d %.200s", path, r.Status, r.Raw)
				}
			}
			for _, r := range []*reply{
				alice.put(v3+"/rooms/"+esc(room)+"/redact/"+esc(x)+"/1", object{}),
				alice.post(v3+"/rooms/"+esc(room)+"/receipt/m.read/"+esc(x), object{}),
				alice.post(v3+"/join/"+esc(x), object{}),
				alice.post(v3+"/rooms/"+esc(room)+"/invite", object{"user_id": x}),
				alice.post(v3+"/rooms/"+esc(room)+"/read_markers", object{"m.fully_read": x}),
				alice.put(v3+"/directory/room/"+esc(x), object{"room_id": room}),
			} {
				if r.Status < 400 || r.Status >= 500 {
					t.Errorf("%s: got %d %.200s", r.call, r.Status, r.Raw)
				}
			}
			r := alice.send(room, "org.x", "t "+x, object{"m.relates_to": object{"rel_type": x, "event_id": x, "key": x}, x: x})
			if r.Status != 200 && r.Status != 400 {
				t.Errorf("a relation to %q: got %d %.200s", x, r.Status, r.Raw)
			}
		}
		is(t, "what was there", alice.room(room, "/event/"+esc(id)).want(200).at("content", "body"), "kept")
		alice.room(room, "/messages?dir=b&limit=100").want(200)
	})
}

// TestHostileContents sends contents of odd shapes as every event that the
// server reads itself: each is accepted or refused by a clear error, and the
// room can still be read.
func TestHostileContents(t *testing.T) {
	s := newStage(t)
	alice, bob := s.register("alice"), s.register("bob")
	types := []string{"m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.canonical_alias", "m.room.create", "m.room.member",
		"m.room.name", "m.room.topic", "m.room.avatar", "m.room.encryption", "m.room.guest_access", "m.room.tombstone", "m.space.child", "m.room.redaction", "m.room.message", "m.reaction"}
	members := []string{"users", "events", "ban", "users_default", "state_default", "join_rule", "allow", "history_visibility", "alias", "alt_aliases", "membership",
		"join_authorised_via_users_server", "third_party_invite", "redacts", "m.relates_to", "rel_type", "event_id", "key", "algorithm", "via", "order", "url", "name", "m.mentions"}
	values := []string{`null`, `true`, `0`, `-1`, `9007199254740991`, `""`, `"x"`, `"@alice:hs1"`, `"join"`, `"restricted"`, `[]`, `[null]`, `[{}]`, `{}`, `{"@alice:hs1":100}`, `{"@bob:hs1":-1}`,
		`{"rel_type":"m.thread","event_id":"$x"}`, `{"rel_type":"m.annotation","event_id":{},"key":[]}`, `[{"type":"m.room_membership","room_id":5}]`, `{"":{"":[{}]}}`}
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		room := alice.create(object{"preset": "public_chat", "room_version": fmt.Sprint(1 + round)})
		bob.join(room)
		for i := range 40 {
			var parts []string
			for _, m := range rnd.Perm(len(members))[:1+rnd.IntN(4)] {
				parts = append(parts, fmt.Sprintf("%q:%s", members[m], values[rnd.IntN(len(values))]))
			}
			content := "{" + strings.Join(parts, ",") + "}"
			typ := types[rnd.IntN(len(types))]
			keys := []string{"", "", "x", alice.ID, bob.ID, room}
			var r *reply
			if i%3 == 0 {
				r = alice.send(room, typ, fmt.Sprint(i), content)
			} else {
				r = alice.set(room, typ, keys[rnd.IntN(len(keys))], content)
			}
			if r.Status >= 500 || r.Status != 200 && r.at("errcode") == nil {
				t.Fatalf("version %d: %s with %s: got %d %.300s", 1+round, r.call, content, r.Status, r.Raw)
			}
			for _, path := range []string{"/messages?dir=b&limit=5", "/state", "/members"} {
				if r := bob.room(room, path); r.Status >= 500 {
					t.Fatalf("version %d: after %s %s: %s gave %d %.300s", 1+round, typ, content, path, r.Status, r.Raw)
				}
			}
			if m := alice.state(room, "m.room.member", alice.ID); m.at("membership") != "join" {
				break // she took herself out of the room, by the rules
			}
		}
		for _, path := range []string{"/_matrix/client/v1/rooms/" + esc(room) + "/hierarchy", "/_matrix/client/v1/room_summary/" + esc(room), v3 + "/publicRooms"} {
			if r := bob.get(path); r.Status >= 500 {
				t.Errorf("version %d: %s gave %d %.300s", 1+round, path, r.Status, r.Raw)
			}
		}
		if r := alice.post(v3+"/rooms/"+esc(room)+"/upgrade", object{"new_version": "12"}); r.Status >= 500 {
			t.Errorf("version %d: the upgrade gave %d %.300s", 1+round, r.Status, r.Raw)
		}
		bob.post(v3+"/rooms/"+esc(room)+"/leave", nil)
	}
}
