package matrixserver_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestSyncInviteJoinLeave(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		f := bob.follow()
		room := alice.create(object{"name": "Secret", "initial_state": []any{
			object{"type": "m.room.encryption", "content": object{"algorithm": "m.megolm.v1.aes-sha2"}}}})
		alice.say(room, "before the invitation")
		is(t, "before", f.next().at("rooms"), "<nil>")
		alice.invite(room, bob)
		r := f.next()
		is(t, "invite_state", stateOf(r.at("rooms", "invite", room, "invite_state", "events")),
			"create/ encryption/=m.megolm.v1.aes-sha2 join_rules/ member/@alice:hs1=join member/@bob:hs1=invite name/=Secret")
		for _, e := range r.at("rooms", "invite", room, "invite_state", "events").([]any) {
			if at(e, "event_id") != nil || at(e, "origin_server_ts") != nil {
				t.Errorf("got %v, want it stripped", e)
			}
		}
		is(t, "once", f.next().at("rooms"), "<nil>")
		is(t, "a new device", bob.sync().at("rooms", "join"), "<nil>")
		if bob.sync().at("rooms", "invite", room) == nil {
			t.Error("a new device does not see the invitation")
		}

		bob.join(room)
		alice.say(room, "welcome")
		r = f.next()
		is(t, "timeline", strings.HasSuffix(r.timeline(room), "before the invitation m.room.member m.room.member welcome"), true)
		is(t, "timeline and state", stateOf(r.joined(room, "state", "events"))+fmt.Sprint(r.joined(room, "timeline", "limited")), "create/ member/@alice:hs1=jointrue")
		is(t, "invite", r.at("rooms", "invite"), "<nil>")

		bob.leave(room)
		alice.say(room, "he is gone")
		r = f.next()
		is(t, "join", r.at("rooms", "join"), "<nil>")
		is(t, "after leaving", bodies(r.at("rooms", "leave", room, "timeline", "events")), "m.room.member")
		is(t, "once", f.next().at("rooms"), "<nil>")
		is(t, "a new device", bob.sync().at("rooms"), "<nil>")
		r = bob.sync(`filter={"room":{"include_leave":true,"timeline":{"limit":2}}}`)
		is(t, "include_leave", bodies(r.at("rooms", "leave", room, "timeline", "events")), "welcome m.room.member")
		is(t, "its state", strings.Contains(stateOf(r.at("rooms", "leave", room, "state", "events")), "member/@bob:hs1=join name/=Secret"), true)

		// Coming back: everything since he left that he may see, once.
		alice.invite(room, bob)
		bob.join(room)
		r = f.next()
		is(t, "rejoin", r.timeline(room), "he is gone m.room.member m.room.member")
		is(t, "rejoin limited", r.joined(room, "timeline", "limited"), true)
		is(t, "the whole state", strings.Contains(stateOf(r.joined(room, "state", "events")), "name/=Secret"), true)
	})
}

func TestSyncKickBanReject(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		f := bob.follow()
		alice.say(room, "last words")
		alice.act(room, "kick", bob).want(200)
		alice.say(room, "not for bob")
		r := f.next()
		is(t, "kicked", bodies(r.at("rooms", "leave", room, "timeline", "events")), "last words m.room.member")
		is(t, "kicked, state", stateOf(r.at("rooms", "leave", room, "state", "events")), "")
		alice.set(room, "m.room.topic", "", object{"topic": "not for bob either"}).want(200)
		alice.act(room, "ban", bob).want(200)
		r = f.next()
		is(t, "banned", bodies(r.at("rooms", "leave", room, "timeline", "events")), "m.room.member")
		is(t, "banned", at(r.at("rooms", "leave", room, "timeline", "events").([]any)[0], "content", "membership"), "ban")
		is(t, "banned, state", stateOf(r.at("rooms", "leave", room, "state", "events")), "")

		other := alice.create(object{"name": "Other"})
		alice.say(other, "not for bob")
		alice.invite(other, bob)
		f.next()
		bob.leave(other)
		r = f.next()
		is(t, "rejected", bodies(r.at("rooms", "leave", other, "timeline", "events")), "m.room.member")
		is(t, "rejected, state", stateOf(r.at("rooms", "leave", other, "state", "events")), "")

		// Joined and left between two syncs.
		third := alice.create(object{"preset": "public_chat", "topic": "Third"})
		alice.say(third, "hello")
		bob.join(third)
		bob.leave(third)
		alice.say(third, "not for bob")
		r = f.next()
		is(t, "in and out", strings.HasSuffix(bodies(r.at("rooms", "leave", third, "timeline", "events")), "hello m.room.member m.room.member"), true)

		// Forgotten on one device: the other still hears that he left, and a
		// new one does not hear of the room.
		g := bob.login("OTHER").follow()
		fourth := alice.create(object{"preset": "public_chat"})
		bob.join(fourth)
		g.next()
		bob.leave(fourth)
		bob.post(v3+"/rooms/"+esc(fourth)+"/forget", object{}).want(200)
		is(t, "forgotten", bodies(g.next().at("rooms", "leave", fourth, "timeline", "events")), "m.room.member")
		is(t, "forgotten, new device", bob.sync(`filter={"room":{"include_leave":true}}`).at("rooms", "leave", fourth), "<nil>")
	})
}

func TestSyncKnock(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"name": "Door"})
		alice.set(room, "m.room.join_rules", "", object{"join_rule": "knock"}).want(200)
		f := bob.follow()
		bob.post(v3+"/knock/"+esc(room), object{"reason": "let me in"}).want(200)
		r := f.next()
		is(t, "knock_state", stateOf(r.at("rooms", "knock", room, "knock_state", "events")),
			"create/ join_rules/ member/@bob:hs1=knock name/=Door")
		alice.invite(room, bob)
		bob.join(room)
		if f.next().joined(room) == nil {
			t.Error("let in: the room is not there")
		}
	})
}

// TestSyncUnseenHistory: what a member may not see stays out of their
// timeline, but the state is the current one all the same.
func TestSyncUnseenHistory(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		alice.set(room, "m.room.history_visibility", "", object{"history_visibility": "joined"}).want(200)
		alice.set(room, "m.room.topic", "", object{"topic": "first"}).want(200)
		alice.say(room, "unseen")
		f := bob.follow()
		bob.join(room)
		alice.say(room, "seen")
		r := f.next()
		is(t, "timeline", r.timeline(room), "m.room.member seen")
		is(t, "limited", r.joined(room, "timeline", "limited"), true)
		is(t, "state", stateOf(r.joined(room, "state", "events")),
			"create/ guest_access/ history_visibility/ join_rules/ member/@alice:hs1=join power_levels/ topic/=first")

		// Out and in again between two syncs, with a change in between.
		alice.say(room, "seen too")
		bob.leave(room)
		alice.set(room, "m.room.topic", "", object{"topic": "second"}).want(200)
		alice.say(room, "unseen too")
		bob.join(room)
		alice.say(room, "seen again")
		r = f.next()
		is(t, "timeline", r.timeline(room), "m.room.member seen again")
		is(t, "limited", r.joined(room, "timeline", "limited"), true)
		is(t, "topic", strings.Contains(stateOf(r.joined(room, "state", "events")), "topic/=second"), true)
		back := bob.room(room, "/messages?dir=b&limit=3&from="+url.QueryEscape(r.joined(room, "timeline", "prev_batch").(string))).want(200)
		is(t, "before it", bodies(back.at("chunk")), "m.room.member seen too seen")
	})
}

func TestSyncRoomFilters(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		a, b := alice.create(object{"preset": "public_chat"}), alice.create(object{})
		bob.join(a)
		since := alice.sync().text("next_batch")
		bob.say(a, "by bob")
		alice.say(a, "by alice")
		alice.say(b, "elsewhere")
		alice.set(a, "m.room.topic", "", object{"topic": "new"}).want(200)
		alice.put(v3+dataPath(alice, a, "x.one"), object{"a": 1}).want(200)
		alice.put(v3+dataPath(alice, a, "y.two"), object{"a": 1}).want(200)
		alice.put(v3+dataPath(alice, "", "x.one"), object{"a": 1}).want(200)
		for _, c := range []struct{ filter, want string }{
			{`{}`, "by bob by alice m.room.topic | | elsewhere | x.one y.two | x.one"},
			{`{"room":{"rooms":["` + a + `"]}}`, "by bob by alice m.room.topic | | | x.one y.two | x.one"},
			{`{"room":{"not_rooms":["` + a + `"]}}`, " | | elsewhere | | x.one"},
			{`{"room":{"timeline":{"not_rooms":["` + b + `"]}}}`, "by bob by alice m.room.topic | | | x.one y.two | x.one"},
			{`{"room":{"timeline":{"types":["m.room.message"]}}}`, "by bob by alice | topic/=new | elsewhere | x.one y.two | x.one"},
			{`{"room":{"timeline":{"not_types":["m.room.*"]}}}`, " | topic/=new | | x.one y.two | x.one"},
			{`{"room":{"timeline":{"senders":["` + bob.ID + `"]}}}`, "by bob | topic/=new | | x.one y.two | x.one"},
			{`{"room":{"timeline":{"types":[]},"state":{"types":[]}}}`, " | | | x.one y.two | x.one"},
			{`{"room":{"timeline":{"limit":1}}}`, "m.room.topic | | elsewhere | x.one y.two | x.one"},
			{`{"room":{"timeline":{"limit":0}}}`, " | topic/=new | | x.one y.two | x.one"},
			{`{"room":{"account_data":{"types":["x.*"]}},"account_data":{"not_types":["x.*"]}}`, "by bob by alice m.room.topic | | elsewhere | x.one |"},
			{`{"room":{"account_data":{"limit":1}},"account_data":{"limit":0}}`, "by bob by alice m.room.topic | | elsewhere | x.one |"},
		} {
			r := alice.sync("since="+since, "filter="+c.filter).want(200)
			got := r.timeline(a) + " | " + stateOf(r.joined(a, "state", "events")) + " | " + r.timeline(b) + " | " +
				types(r.joined(a, "account_data", "events")) + " | " + types(r.at("account_data", "events"))
			if squeeze(got) != squeeze(c.want) {
				t.Errorf("%s: got %q, want %q", c.filter, got, c.want)
			}
		}
		id := alice.post(v3+"/user/"+esc(alice.ID)+"/filter", object{"room": object{"rooms": []string{b}}}).want(200).text("filter_id")
		r := alice.sync("since="+since, "filter="+id).want(200)
		is(t, "by id", r.timeline(a)+r.timeline(b), "elsewhere")

		r = alice.sync("since="+since, `filter={"event_fields":["type","content.body"]}`).want(200)
		is(t, "event_fields", r.joined(a, "timeline", "events").([]any)[0], "map[content:map[body:by bob] type:m.room.message]")

		alice.send(a, "m.room.message", "url", object{"msgtype": "m.image", "body": "picture", "url": "mxc://hs1/x"}).want(200)
		r = alice.sync("since="+since, `filter={"room":{"timeline":{"contains_url":true}}}`).want(200)
		is(t, "contains_url", r.timeline(a), "picture")

		alice.relate(a, "m.room.message", "m.thread", bob.say(a, "root"), "reply")
		r = alice.sync("since="+since, `filter={"room":{"timeline":{"related_by_rel_types":["m.thread"]}}}`).want(200)
		is(t, "related_by_rel_types", r.timeline(a), "root")

		// A filter that refuses nearly all does not make the sync look at
		// everything there ever was, and says that it did not.
		r = alice.sync(`filter={"room":{"timeline":{"types":["m.room.create"]}}}`).want(200)
		is(t, "the oldest event", r.timeline(a), "m.room.create")
	})
}

// types lists the types of a list of events.
func types(list any) string {
	events, _ := list.([]any)
	var out []string
	for _, e := range events {
		out = append(out, at(e, "type").(string))
	}
	return strings.Join(out, " ")
}

// squeeze makes one space of many.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestSyncLazyLoading: Lazy loading parameters in the filter are enforced;
// the memberships of those who are heard come with them.
func TestSyncLazyLoading(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol, dan := s.register("alice"), s.register("bob"), s.register("carol"), s.register("dan")
		room := alice.create(object{"preset": "public_chat", "name": "Many"})
		for _, u := range []*user{bob, carol, dan} {
			u.join(room)
		}
		for i := range 12 {
			bob.say(room, fmt.Sprint(i))
		}
		const lazy = `filter={"room":{"state":{"lazy_load_members":true},"timeline":{"limit":10}}}`
		f := alice.follow(lazy)
		r := alice.sync(lazy).want(200)
		is(t, "initial", members(r.joined(room, "state", "events")), "member/@alice:hs1=join member/@bob:hs1=join")
		carol.say(room, "carol speaks")
		is(t, "who speaks", members(f.next().joined(room, "state", "events")), "member/@carol:hs1=join")
		carol.say(room, "carol speaks again")
		is(t, "who speaks again", members(f.next().joined(room, "state", "events")), "member/@carol:hs1=join")
		for i := range 12 {
			carol.say(room, fmt.Sprint("more", i))
		}
		alice.act(room, "kick", dan).want(200)
		for i := range 12 {
			carol.say(room, fmt.Sprint("again", i))
		}
		is(t, "a gap", members(f.next().joined(room, "state", "events")), "member/@carol:hs1=join")
		r = alice.sync(`filter={"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}`, "since="+f.since, "full_state=true").want(200)
		is(t, "full_state", members(r.joined(room, "state", "events")), "member/@alice:hs1=join")

		// Without a name the heroes' memberships come with the summary.
		alice.set(room, "m.room.name", "", object{"name": ""}).want(200)
		r = f.next()
		is(t, "heroes", r.joined(room, "summary", "m.heroes"), "[@bob:hs1 @carol:hs1]")
		is(t, "their memberships", members(r.joined(room, "state", "events")), "member/@alice:hs1=join member/@bob:hs1=join member/@carol:hs1=join")
	})
}

// members keeps the memberships of a list of state.
func members(list any) string {
	var out []string
	for _, f := range strings.Fields(stateOf(list)) {
		if strings.HasPrefix(f, "member/") {
			out = append(out, f)
		}
	}
	return strings.Join(out, " ")
}

func TestSyncSummary(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		var others []*user
		for i := range 7 {
			others = append(others, s.register(fmt.Sprint("user", i)))
		}
		room := alice.create(object{"preset": "public_chat"})
		f := alice.follow()
		is(t, "alone", f.sync().joined(room, "summary"), "map[m.invited_member_count:0 m.joined_member_count:1]")
		for _, u := range others[:6] {
			u.join(room)
		}
		alice.invite(room, others[6])
		is(t, "others", f.next().joined(room, "summary"),
			"map[m.heroes:[@user0:hs1 @user1:hs1 @user2:hs1 @user3:hs1 @user4:hs1] m.invited_member_count:1 m.joined_member_count:7]")
		alice.say(room, "hi")
		is(t, "unchanged", f.next().joined(room, "summary"), "<nil>")
		alice.set(room, "m.room.name", "", object{"name": "Named"}).want(200)
		is(t, "named", f.next().joined(room, "summary"), "map[m.invited_member_count:1 m.joined_member_count:7]")
		alice.set(room, "m.room.name", "", object{"name": ""}).want(200)
		for _, u := range others[1:] {
			u.leave(room)
		}
		is(t, "two", f.next().joined(room, "summary"), "map[m.heroes:[@user0:hs1] m.invited_member_count:0 m.joined_member_count:2]")
		others[0].leave(room)
		is(t, "all gone", f.next().joined(room, "summary", "m.heroes"),
			"[@user1:hs1 @user2:hs1 @user3:hs1 @user4:hs1 @user5:hs1]")
	})
}

// TestSyncStateAfter is TestSync of MSC4222: Initial sync with lazy-loading
// room members: state_after includes all members from timeline, for a public
// and a private room; and what else the state at the end of the timeline says.
func TestSyncStateAfter(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		const lazy = `filter={"room":{"state":{"lazy_load_members":true}}}`
		for param, field := range map[string]string{"use_state_after": "state_after", "org.matrix.msc4222.use_state_after": "org.matrix.msc4222.state_after"} {
			for _, preset := range []string{"public_chat", "private_chat"} {
				alice, bob := s.register("alice"+preset+param[:3]), s.register("bob"+preset+param[:3])
				room := alice.create(object{"preset": preset, "invite": []string{bob.ID}})
				bob.join(room)
				bob.say(room, "hello")
				r := alice.sync(param+"=true", lazy).want(200)
				is(t, preset+" members", members(r.joined(room, field, "events")), "member/"+alice.ID+"=join member/"+bob.ID+"=join")
				is(t, "state", r.joined(room, "state"), "<nil>")

				f := alice.follow(param + "=true")
				bob.say(room, "no change")
				r = f.next()
				is(t, "always there", r.joined(room, field, "events"), "[]")
				alice.set(room, "m.room.topic", "", object{"topic": "one"}).want(200)
				alice.set(room, "m.room.topic", "", object{"topic": "two"}).want(200)
				r = f.next()
				is(t, "timeline", r.timeline(room), "m.room.topic m.room.topic")
				is(t, "the last of it", stateOf(r.joined(room, field, "events")), "topic/=two")
				alice.act(room, "kick", bob).want(200)
				for i := range 12 {
					alice.say(room, fmt.Sprint("m", i))
				}
				alice.set(room, "m.room.topic", "", object{"topic": "three"}).want(200)
				r = f.next()
				is(t, "after a gap", stateOf(r.joined(room, field, "events")), "member/"+bob.ID+"=leave topic/=three")
				is(t, "limited", r.joined(room, "timeline", "limited"), true)
			}
		}
	})
}

// TestSyncStateAfterLazily: a user who is removed is in state_after although
// they do not speak.
func TestSyncStateAfterLazily(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		f := alice.follow("use_state_after=true", `filter={"room":{"state":{"lazy_load_members":true}}}`)
		alice.act(room, "kick", bob).want(200)
		is(t, "state_after", members(f.next().joined(room, "state_after", "events")), "member/@alice:hs1=join member/@bob:hs1=leave")
	})
}

func TestSyncIgnoredUsers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		alice.put(v3+dataPath(alice, "", "m.ignored_user_list"), object{"ignored_users": object{bob.ID: object{}, alice.ID: object{}}}).want(200)
		f := alice.follow()
		bob.say(room, "unwanted")
		alice.say(room, "wanted")
		alice.set(room, "m.room.power_levels", "", object{"users": object{alice.ID: 100, bob.ID: 100}}).want(200)
		bob.set(room, "m.room.topic", "", object{"topic": "state all the same"}).want(200)
		bob.create(object{"invite": []string{alice.ID}})
		r := f.next()
		is(t, "timeline", r.timeline(room), "wanted m.room.power_levels m.room.topic")
		is(t, "invitations", r.at("rooms", "invite"), "<nil>")
		alice.put(v3+dataPath(alice, "", "m.ignored_user_list"), object{"ignored_users": "nobody"}).want(200)
		bob.say(room, "wanted again")
		is(t, "timeline", f.next().timeline(room), "wanted again")
	})
}

// TestTxnInEvent: an event carries the transaction id for the device that
// sent it, and for no other.
func TestSyncTxnInEvent(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		phone := alice.login("PHONE")
		f, g, h := alice.follow(), phone.follow(), bob.follow()
		alice.say(room, "hello")
		for i, c := range []struct {
			f    *follower
			want any
		}{{f, "txn hello"}, {g, nil}, {h, nil}} {
			e := c.f.next().joined(room, "timeline", "events").([]any)[0]
			is(t, fmt.Sprint("device ", i), at(e, "unsigned", "transaction_id"), c.want)
			is(t, fmt.Sprint("membership ", i), at(e, "unsigned", "membership"), "join")
		}
	})
}
