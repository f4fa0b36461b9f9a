package eventauth_test

import (
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

// TestJoinRules goes through every join rule, membership and version.
func TestJoinRules(t *testing.T) {
	t.Parallel()
	const rule = "m.room.member join"
	since := map[string]eventauth.Version{"public": 1, "invite": 1, "knock": 7, "restricted": 8, "knock_restricted": 10, "private": 99, "odd": 99}
	for _, v := range all() {
		for jr, first := range since {
			for _, m := range []string{"", "leave", "knock", "invite", "join", "ban"} {
				r := newRoom(v)
				r.joinRule(jr)
				if m != "" {
					r.member(bob, m)
				}
				expect := rule
				if m != "ban" && v >= first && (jr == "public" || m == "invite" || m == "join") {
					expect = ""
				}
				want(t, v, "join by rule "+jr+" after "+m, r.checkMember(bob, bob, "join"), expect)
			}
		}
		r := newRoom(v)
		want(t, v, "join without join rule", r.checkMember(bob, bob, "join"), rule)
		r.member(bob, "invite")
		want(t, v, "invited, without join rule", r.checkMember(bob, bob, "join"), "")
		want(t, v, "join for another", r.checkMember(alice, bob, "join"), rule)
	}
}

func TestFirstJoin(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		delete(r.state, eventauth.Key{Type: "m.room.member", StateKey: alice})
		target, other := alice, bob
		e := r.event("m.room.member", &target, alice, `{"membership":"join"}`)
		e.PrevEvents = []string{"$create"}
		want(t, v, "creator", r.check(e), "")
		e.PrevEvents = []string{"$create", "$more"}
		want(t, v, "creator, later", r.check(e), "m.room.member join")
		e = r.event("m.room.member", &other, bob, `{"membership":"join"}`)
		e.PrevEvents = []string{"$create"}
		want(t, v, "another", r.check(e), "m.room.member join")
	}
}

func TestRestrictedJoin(t *testing.T) {
	t.Parallel()
	const join = "m.room.member join"
	for _, v := range all() {
		for jr, first := range map[string]eventauth.Version{"restricted": 8, "knock_restricted": 10} {
			r := newRoom(v)
			r.joinRule(jr)
			r.levels(`{"users":{"@carol:hs1":10},"invite":10}`)
			r.member(carol, "join")
			r.member("@low:hs1", "join")
			r.member("@gone:hs1", "leave")
			target := bob
			via := func(user string) error {
				return r.check(r.event("m.room.member", &target, bob, map[string]any{"membership": "join", "join_authorised_via_users_server": user}))
			}
			good, foreign := join, join
			if v >= first {
				good = ""
			}
			if v >= 8 {
				foreign = "m.room.member"
			}
			want(t, v, jr+" via one who may invite", via(carol), good)
			want(t, v, jr+" via one who may not", via("@low:hs1"), join)
			want(t, v, jr+" via one who left", via("@gone:hs1"), join)
			want(t, v, jr+" via nobody", via("@nobody:hs1"), join)
			want(t, v, jr+" via another server", via(eve), foreign)
			r.member(bob, "ban")
			want(t, v, jr+" while banned", via(carol), join)
		}
	}
}

func TestInvite(t *testing.T) {
	t.Parallel()
	const rule = "m.room.member invite"
	for _, v := range all() {
		for m, expect := range map[string]string{"": "", "leave": "", "invite": "", "knock": "", "join": rule, "ban": rule} {
			r := newRoom(v)
			if m != "" {
				r.member(bob, m)
			}
			want(t, v, "invite after "+m, r.checkMember(alice, bob, "invite"), expect)
		}
		r := newRoom(v)
		want(t, v, "stranger invites", r.checkMember(bob, carol, "invite"), rule)
		r.member(bob, "join")
		want(t, v, "member invites by the default", r.checkMember(bob, carol, "invite"), "")
		r.levels(`{"invite":1}`)
		want(t, v, "level too low", r.checkMember(bob, carol, "invite"), rule)
		r.levels(`{"invite":1,"users":{"@bob:hs1":1}}`)
		want(t, v, "level just enough", r.checkMember(bob, carol, "invite"), "")
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	const rule = "m.room.member leave"
	for _, v := range all() {
		for m, expect := range map[string]string{"": rule, "leave": rule, "ban": rule, "invite": "", "join": ""} {
			r := newRoom(v)
			if m != "" {
				r.member(bob, m)
			}
			want(t, v, "leaves after "+m, r.checkMember(bob, bob, "leave"), expect)
		}
		r := newRoom(v)
		r.member(bob, "knock")
		expect := ""
		if v < 7 {
			expect = rule
		}
		want(t, v, "takes a knock back", r.checkMember(bob, bob, "leave"), expect)
	}
}

func TestKickBanUnban(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.member(bob, "join")
		r.member(carol, "join")
		r.member("@banned:hs1", "ban")
		r.levels(`{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60},"kick":50,"ban":55}`)
		want(t, v, "kicks a lower", r.checkMember(bob, "@low:hs1", "leave"), "")
		want(t, v, "kicks an equal", r.checkMember(bob, carol, "leave"), "m.room.member leave")
		want(t, v, "kicks a higher", r.checkMember(bob, "@mod:hs1", "leave"), "m.room.member leave")
		want(t, v, "stranger kicks", r.checkMember("@mod:hs1", carol, "leave"), "m.room.member leave")
		want(t, v, "unbans without the level", r.checkMember(bob, "@banned:hs1", "leave"), "m.room.member leave")
		want(t, v, "bans without the level", r.checkMember(bob, "@low:hs1", "ban"), "m.room.member ban")
		want(t, v, "stranger bans", r.checkMember("@mod:hs1", carol, "ban"), "m.room.member ban")
		r.member("@mod:hs1", "join")
		want(t, v, "unbans", r.checkMember("@mod:hs1", "@banned:hs1", "leave"), "")
		want(t, v, "bans a lower", r.checkMember("@mod:hs1", carol, "ban"), "")
		want(t, v, "bans himself", r.checkMember("@mod:hs1", "@mod:hs1", "ban"), "m.room.member ban")
		if v.RoomIDFromCreate() {
			want(t, v, "nobody kicks a creator", r.checkMember("@mod:hs1", alice, "leave"), "m.room.member leave")
			want(t, v, "creator kicks", r.checkMember(alice, "@mod:hs1", "leave"), "")
		}
	}
}

func TestKnock(t *testing.T) {
	t.Parallel()
	const rule = "m.room.member knock"
	for _, v := range all() {
		for jr, first := range map[string]eventauth.Version{"knock": 7, "knock_restricted": 10, "invite": 99, "public": 99, "restricted": 99} {
			for m, ok := range map[string]bool{"": true, "leave": true, "knock": true, "invite": false, "join": false, "ban": false} {
				r := newRoom(v)
				r.joinRule(jr)
				if m != "" {
					r.member(bob, m)
				}
				expect := rule
				if v < 7 {
					expect = "m.room.member"
				} else if v >= first && ok {
					expect = ""
				}
				want(t, v, "knock by rule "+jr+" after "+m, r.checkMember(bob, bob, "knock"), expect)
			}
		}
		if v >= 7 {
			r := newRoom(v)
			r.joinRule("knock")
			want(t, v, "knock for another", r.checkMember(alice, bob, "knock"), rule)
		}
	}
}

func TestMemberForm(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.joinRule("public")
		target, bad := bob, "bob"
		for what, e := range map[string]*eventauth.Event{
			"no state key":               r.event("m.room.member", nil, bob, `{"membership":"join"}`),
			"no membership":              r.event("m.room.member", &target, bob, `{}`),
			"membership in another case": r.event("m.room.member", &target, bob, `{"Membership":"join"}`),
			"membership is a number":     r.event("m.room.member", &target, bob, `{"membership":1}`),
			"membership is not known":    r.event("m.room.member", &target, bob, `{"membership":"here"}`),
			"state key is not a user id": r.event("m.room.member", &bad, bob, `{"membership":"join"}`),
		} {
			want(t, v, what, r.check(e), "m.room.member")
		}
	}
}
