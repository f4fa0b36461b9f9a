package matrixserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMessages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		for i := range 5 {
			alice.say(room, fmt.Sprint("m", i))
		}
		bob.send(room, "org.x", "1", object{"url": "mxc://a/b"}).want(200)
		page := alice.room(room, "/messages?dir=b&limit=3").want(200)
		is(t, "first page", bodies(page.at("chunk")), "org.x m4 m3")
		next := alice.room(room, "/messages?dir=b&limit=3&from="+page.text("end")).want(200)
		is(t, "second page", bodies(next.at("chunk")), "m2 m1 m0")
		is(t, "it begins where the first ended", next.text("start"), page.text("end"))
		is(t, "up to a token", bodies(alice.room(room, "/messages?dir=b&limit=30&to="+page.text("end")).want(200).at("chunk")), "org.x m4 m3")
		forth := alice.room(room, "/messages?dir=f&limit=2&from="+next.text("end")).want(200)
		is(t, "forth", bodies(forth.at("chunk")), "m0 m1")
		is(t, "and on", bodies(alice.room(room, "/messages?dir=f&limit=9&from="+forth.text("end")).want(200).at("chunk")), "m2 m3 m4 org.x")
		all := alice.room(room, "/messages?dir=b&limit=1000").want(200)
		if all.at("end") != nil {
			t.Errorf("the last page has an end: %v", all.at("end"))
		}
		oldest := all.at("chunk").([]any)
		is(t, "oldest", at(oldest[len(oldest)-1], "type"), "m.room.create")
		is(t, "from the beginning", at(alice.room(room, "/messages?dir=f&limit=1").at("chunk").([]any)[0], "type"), "m.room.create")
		e := page.at("chunk").([]any)[1]
		is(t, "form", words(at(e, "room_id") == room, at(e, "sender"), at(e, "type"), at(e, "origin_server_ts") != nil, at(e, "unsigned", "age") != nil, at(e, "unsigned", "membership")), "true @alice:hs1 m.room.message true true join")
		for f, want := range map[string]string{
			`{"types":["org.*"]}`:                                   "org.x",
			`{"not_types":["org.x"],"limit":2}`:                     "m4 m3 m2 m1 m0 m.room.member m.room.guest_access m.room.history_visibility m.room.join_rules",
			`{"senders":["` + bob.ID + `"]}`:                        "org.x m.room.member",
			`{"contains_url":true}`:                                 "org.x",
			`{"rooms":["!other:hs1"]}`:                              "",
			`{"types":["m.room.message"],"lazy_load_members":true}`: "m4 m3 m2 m1 m0",
		} {
			r := alice.room(room, "/messages?dir=b&limit=9&filter="+esc(f)).want(200)
			is(t, f, bodies(r.at("chunk")), want)
			if strings.Contains(f, "lazy") {
				is(t, "members of the senders", memberships(r.at("state")), "alice:join")
			}
		}
		// A filter that lets little pass still fills its pages, without gap.
		for i := range 4 {
			bob.send(room, "org.seldom", fmt.Sprint("s", i), object{"body": fmt.Sprint("s", i)}).want(200)
			var wg sync.WaitGroup
			for j := range 100 {
				wg.Go(func() { bob.send(room, "org.often", fmt.Sprint("o", i, ".", j), object{}) })
			}
			wg.Wait()
		}
		var seldom []string
		for from := ""; ; {
			r := alice.room(room, "/messages?dir=b&limit=1&filter="+esc(`{"types":["org.seldom"]}`)+from).want(200)
			seldom = append(seldom, bodies(r.at("chunk")))
			if r.at("end") == nil {
				break
			}
			from = "&from=" + r.text("end")
		}
		is(t, "seldom", strings.TrimSpace(strings.Join(seldom, " ")), "s3 s2 s1 s0")
		alice.room(room, "/messages?dir=x").fails(400, "M_INVALID_PARAM")
		alice.room(room, "/messages").fails(400, "M_INVALID_PARAM")
		alice.room(room, "/messages?dir=b&from=x").fails(400, "M_INVALID_PARAM")
		alice.room(room, "/messages?dir=b&limit=-1").fails(400, "M_INVALID_PARAM")
		alice.room(room, "/messages?dir=b&limit=x").fails(400, "M_INVALID_PARAM")
		alice.room(room, "/messages?dir=b&filter=x").fails(400, "M_BAD_JSON")
		s.register("carol").room(room, "/messages?dir=b").fails(403, "M_FORBIDDEN")
		alice.room("!none:hs1", "/messages?dir=b").fails(403, "M_FORBIDDEN")
	})
}

// TestHistoryVisibility: in every read path a user reads what the visibility
// allows him, and nothing else.
func TestHistoryVisibility(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		for vis, want := range map[string]string{
			"shared":         "before invited joined",
			"invited":        "invited joined",
			"joined":         "joined",
			"world_readable": "before invited joined after",
			"odd":            "before invited joined",
		} {
			bob := s.register("bob." + strings.ReplaceAll(vis, "_", ""))
			room := alice.create(object{"initial_state": []object{{"type": "m.room.history_visibility", "content": object{"history_visibility": vis}}}})
			ids := map[string]string{}
			say := func(body string) { ids[body] = alice.say(room, body) }
			say("before")
			alice.invite(room, bob)
			say("invited")
			if vis != "world_readable" {
				bob.room(room, "/messages?dir=b").fails(403, "M_FORBIDDEN")
				bob.room(room, "/event/"+esc(ids["before"])).fails(404, "M_NOT_FOUND")
			}
			bob.join(room)
			say("joined")
			bob.post(v3+"/rooms/"+esc(room)+"/leave", nil).want(200)
			say("after")
			r := bob.room(room, "/messages?dir=b&limit=100&filter="+esc(`{"types":["m.room.message"]}`)).want(200)
			got := strings.Fields(bodies(r.at("chunk")))
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
			is(t, vis+" messages", strings.Join(got, " "), want)
			for body, id := range ids {
				sees := strings.Contains(" "+want+" ", " "+body+" ")
				e, c := bob.room(room, "/event/"+esc(id)), bob.room(room, "/context/"+esc(id)+"?limit=100")
				if (e.Status == 200) != sees || (c.Status == 200) != sees {
					t.Errorf("%s: %s: event gave %d, context %d, want it readable: %v", vis, body, e.Status, c.Status, sees)
				}
				if !sees {
					e.fails(404, "M_NOT_FOUND")
					c.fails(404, "M_NOT_FOUND")
					continue
				}
				for _, part := range []string{"events_before", "events_after"} {
					for _, b := range strings.Fields(bodies(c.at(part))) {
						if _, ours := ids[b]; ours && !strings.Contains(" "+want+" ", " "+b+" ") {
							t.Errorf("%s: the context of %s shows %s", vis, body, b)
						}
					}
				}
			}
			if vis == "joined" {
				ts := alice.room(room, "/event/"+esc(ids["before"])).at("origin_server_ts").(float64)
				bob.get(fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?dir=b&ts=%.0f", esc(room), ts)).fails(404, "M_NOT_FOUND")
			}
		}
	})
}

func TestVisibilityChanges(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		set := func(v string) {
			alice.set(room, "m.room.history_visibility", "", object{"history_visibility": v}).want(200)
		}
		alice.say(room, "shared")
		set("joined")
		alice.say(room, "joined")
		set("world_readable")
		alice.say(room, "world")
		is(t, "a stranger", bodies(bob.room(room, "/messages?dir=b&limit=1").want(200).at("chunk")), "world")
		bob.room(room, "/state").want(200)
		set("shared")
		bob.room(room, "/messages?dir=b").fails(403, "M_FORBIDDEN")
		bob.join(room)
		is(t, "a late member", bodies(bob.room(room, "/messages?dir=f&limit=100&filter="+esc(`{"types":["m.room.message"]}`)).want(200).at("chunk")), "shared world")
	})
}

func TestContext(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		ids := map[string]string{}
		for i := range 6 {
			body := fmt.Sprint("m", i)
			ids[body] = alice.say(room, body)
		}
		r := alice.room(room, "/context/"+esc(ids["m3"])+"?limit=4").want(200)
		is(t, "event", r.at("event", "content", "body"), "m3")
		is(t, "before", bodies(r.at("events_before")), "m2 m1")
		is(t, "after", bodies(r.at("events_after")), "m4 m5")
		is(t, "on from its start", bodies(alice.room(room, "/messages?dir=b&limit=1&from="+r.text("start")).at("chunk")), "m0")
		is(t, "on from its end", bodies(alice.room(room, "/messages?dir=f&limit=9&from="+r.text("end")).at("chunk")), "")
		if !strings.Contains(bodies(r.at("state")), "m.room.power_levels") {
			t.Errorf("the state is %s", bodies(r.at("state")))
		}
		r = alice.room(room, "/context/"+esc(ids["m3"])+"?limit=0").want(200)
		is(t, "limit 0", words(len(r.at("events_before").([]any)), len(r.at("events_after").([]any))), "0 0")
		r = alice.room(room, "/context/"+esc(ids["m3"])+"?limit=2&filter="+esc(`{"lazy_load_members":true}`)).want(200)
		if n := strings.Count(bodies(r.at("state")), "m.room.member"); n != 1 {
			t.Errorf("with lazy loading the state has %d members, want 1", n)
		}
		alice.room(room, "/context/$none").fails(404, "M_NOT_FOUND")
		other := alice.create(object{})
		alice.room(other, "/context/"+esc(ids["m3"])).fails(404, "M_NOT_FOUND")
		alice.room(other, "/event/"+esc(ids["m3"])).fails(404, "M_NOT_FOUND")
	})
}

func TestTimestampToEvent(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		room := alice.create(object{})
		id := alice.say(room, "x")
		now := time.Now().UnixMilli()
		path := "/_matrix/client/v1/rooms/" + esc(room) + "/timestamp_to_event"
		r := alice.get(fmt.Sprintf("%s?dir=b&ts=%d", path, now+5000)).want(200)
		is(t, "back", words(r.text("event_id") == id, r.at("origin_server_ts") != nil), "true true")
		alice.get(fmt.Sprintf("%s?dir=f&ts=%d", path, now+5000)).fails(404, "M_NOT_FOUND")
		first := alice.room(room, "/state/m.room.create?format=event").text("event_id")
		is(t, "forth", alice.get(path+"?dir=f&ts=0").want(200).text("event_id"), first)
		alice.get(path+"?dir=b&ts=0").fails(404, "M_NOT_FOUND")
		alice.get(path+"?dir=x&ts=0").fails(400, "M_INVALID_PARAM")
		alice.get(path+"?dir=f").fails(400, "M_MISSING_PARAM")
		alice.get(path+"?dir=f&ts=x").fails(400, "M_INVALID_PARAM")
		s.register("bob").get(path+"?dir=f&ts=0").fails(403, "M_FORBIDDEN")
	})
}
