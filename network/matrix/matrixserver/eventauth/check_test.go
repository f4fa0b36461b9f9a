package eventauth_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	const rule = "m.room.create"
	for _, v := range all() {
		good := fmt.Sprintf(`{"room_version":%q,"creator":%q}`, v, alice)
		id := "!room:hs1"
		if v.RoomIDFromCreate() {
			id = ""
		}
		creatorless, wrongID, creators := "", rule, ""
		if v.CreatorInContent() {
			creatorless = rule
		}
		if v.RoomIDFromCreate() {
			creators = rule
		}
		empty, other := "", "x"
		for _, c := range []struct {
			what string
			e    eventauth.Event
			rule string
		}{
			{"good", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(good)}, ""},
			{"previous events", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(good), PrevEvents: []string{"$x"}}, rule},
			{"room of another server", eventauth.Event{RoomID: "!room:other", Sender: alice, StateKey: &empty, Content: []byte(good)}, wrongID},
			{"state key", eventauth.Event{RoomID: id, Sender: alice, StateKey: &other, Content: []byte(good)}, rule},
			{"message event", eventauth.Event{RoomID: id, Sender: alice, Content: []byte(good)}, rule},
			{"no user id", eventauth.Event{RoomID: id, Sender: "alice", StateKey: &empty, Content: []byte(good)}, rule},
			{"unknown version", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(`{"creator":"@a:hs1","room_version":"org.x"}`)}, rule},
			{"number as version", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(`{"creator":"@a:hs1","room_version":5}`)}, rule},
			{"no creator", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(fmt.Sprintf(`{"room_version":%q}`, v))}, creatorless},
			{"creator in another case", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(fmt.Sprintf(`{"Creator":%q,"room_version":%q}`, alice, v))}, creatorless},
			{"creators not a list", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(fmt.Sprintf(`{"creator":"@a:hs1","additional_creators":"@b:hs1","room_version":%q}`, v))}, creators},
			{"creators with null", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(fmt.Sprintf(`{"creator":"@a:hs1","additional_creators":[null],"room_version":%q}`, v))}, creators},
			{"creators not user ids", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(fmt.Sprintf(`{"creator":"@a:hs1","additional_creators":["b"],"room_version":%q}`, v))}, creators},
			{"not an object", eventauth.Event{RoomID: id, Sender: alice, StateKey: &empty, Content: []byte(`[]`)}, "content"},
		} {
			c.e.Type = "m.room.create"
			want(t, v, c.what, eventauth.Check(v, &c.e, eventauth.StateOf(nil)), c.rule)
		}
		r := newRoom(v)
		e := r.event("m.room.create", &empty, alice, good)
		e.PrevEvents = nil
		if v.RoomIDFromCreate() {
			e.RoomID = ""
		}
		want(t, v, "second create", r.check(e), rule)
	}
	e := eventauth.Event{Type: "m.room.create"}
	for _, v := range []eventauth.Version{-1, 0, 13} {
		if err := eventauth.Check(v, &e, eventauth.StateOf(nil)); !errors.Is(err, eventauth.ErrUnknownVersion) {
			t.Errorf("version %d: got %v, want %v", v, err, eventauth.ErrUnknownVersion)
		}
	}
}

func TestGeneralRules(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.member(bob, "join")
		r.member(carol, "invite")
		r.levels(`{"users":{"@bob:hs1":10},"events":{"m.room.topic":10,"org.x.loud":60},"events_default":5}`)
		msg := func(sender string) error { return r.check(r.event("m.room.message", nil, sender, `{}`)) }
		state := func(sender, typ, key string) error { return r.check(r.event(typ, &key, sender, `{}`)) }
		want(t, v, "member sends", msg(bob), "")
		want(t, v, "invited user sends", msg(carol), "membership")
		want(t, v, "stranger sends", msg("@x:hs1"), "membership")
		want(t, v, "state of his own level", state(bob, "m.room.topic", ""), "")
		want(t, v, "state of the default level", state(bob, "m.room.name", ""), "power level")
		want(t, v, "own state key", state(bob, "m.room.topic", bob), "")
		want(t, v, "another's state key", state(bob, "m.room.topic", alice), "state_key")
		want(t, v, "message above his level", r.check(r.event("org.x.loud", nil, bob, `{}`)), "power level")
		r.levels(`{"users":{"@bob:hs1":4},"events_default":5}`)
		want(t, v, "below events_default", msg(bob), "power level")

		e := r.event("m.room.message", nil, alice, `{}`)
		delete(r.state, eventauth.Key{Type: "m.room.create"})
		want(t, v, "no create", r.check(e), "create")
	}
}

func TestWithoutPowerLevels(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.member(bob, "join")
		key := ""
		want(t, v, "state without power levels", r.check(r.event("m.room.name", &key, bob, `{}`)), "")
		want(t, v, "creator bans", r.checkMember(alice, bob, "ban"), "")
		want(t, v, "member bans", r.checkMember(bob, alice, "ban"), "m.room.member ban")
		l, err := eventauth.LevelsOf(v, eventauth.StateOf(r.state))
		if err != nil {
			t.Fatal(err)
		}
		creator := int64(100)
		if v.RoomIDFromCreate() {
			creator = eventauth.CreatorLevel
		}
		if got := l.User(alice); got != creator {
			t.Errorf("version %v: level of the creator: got %d, want %d", v, got, creator)
		}
		if got := l.Event("m.room.name", true); got != 0 {
			t.Errorf("version %v: level of state: got %d, want 0", v, got)
		}
	}
}

func TestFederateFalse(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.joinRule("public")
		want(t, v, "federated join", r.checkMember(eve, eve, "join"), "")
		c := r.state[eventauth.Key{Type: "m.room.create"}]
		c.Content = []byte(fmt.Sprintf(`{"room_version":%q,"creator":%q,"m.federate":false}`, v, alice))
		want(t, v, "join of another server", r.checkMember(eve, eve, "join"), "m.federate")
		want(t, v, "join of this server", r.checkMember(bob, bob, "join"), "")
	}
}

func TestRoomIDIsHashOfCreate(t *testing.T) {
	t.Parallel()
	r := newRoom(12)
	e := r.event("m.room.message", nil, alice, `{}`)
	want(t, 12, "right room", r.check(e), "")
	e.RoomID = "!other"
	want(t, 12, "wrong room", r.check(e), "room_id")
	if got := eventauth.RoomIDOf("$abc"); got != "!abc" {
		t.Errorf("got %q, want !abc", got)
	}
	if got := eventauth.RoomIDOf(""); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		hs, other := "hs1", "other"
		right, wrong, none := "", "m.room.aliases", "m.room.aliases"
		if v >= 6 {
			right, wrong, none = "membership", "membership", "membership"
		}
		want(t, v, "own server, not a member", r.check(r.event("m.room.aliases", &hs, bob, `{}`)), right)
		want(t, v, "another server", r.check(r.event("m.room.aliases", &other, bob, `{}`)), wrong)
		want(t, v, "no state key", r.check(r.event("m.room.aliases", nil, bob, `{}`)), none)
	}
}

func TestRedactionRule(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.member(bob, "join")
		r.levels(`{"users":{"@alice:hs1":100}}`)
		if v.RoomIDFromCreate() {
			r.levels(`{}`)
		}
		e := r.event("m.room.redaction", nil, bob, `{}`)
		e.ID, e.Redacts = "$r:hs1", "$x:other"
		rule := ""
		if v < 3 {
			rule = "m.room.redaction"
		}
		want(t, v, "of another server's event", r.check(e), rule)
		e.Redacts = "$x:hs1"
		want(t, v, "of this server's event", r.check(e), "")
		e.Redacts, e.Sender = "$x:other", alice
		want(t, v, "by a moderator", r.check(e), "")
	}
}

func TestCanRedact(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.levels(`{"users":{"@bob:hs1":50,"@carol:hs1":10},"events":{"m.room.redaction":10}}`)
		l, err := eventauth.LevelsOf(v, eventauth.StateOf(r.state))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			who, whose string
			want       bool
		}{
			{bob, carol, true}, {bob, bob, true}, {carol, carol, true}, {carol, bob, false}, {"@d:hs1", "@d:hs1", false},
		} {
			if got := eventauth.CanRedact(l, c.who, c.whose); got != c.want {
				t.Errorf("version %v: %s redacts an event of %s: got %v, want %v", v, c.who, c.whose, got, c.want)
			}
		}
	}
}

func TestThirdPartyInvite(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.member(bob, "join")
		r.levels(`{"users":{"@bob:hs1":10},"invite":10,"users_default":9}`)
		key := "token"
		want(t, v, "may invite", r.check(r.event("m.room.third_party_invite", &key, bob, `{}`)), "")
		r.levels(`{"users":{"@bob:hs1":9},"invite":10}`)
		want(t, v, "may not invite", r.check(r.event("m.room.third_party_invite", &key, bob, `{}`)), "m.room.third_party_invite")
		r.levels(`{"users":{"@bob:hs1":10},"invite":10}`)
		target := carol
		want(t, v, "invitation that carries one", r.check(r.event("m.room.member", &target, bob, `{"membership":"invite","third_party_invite":{}}`)), "m.room.member invite")
	}
}

func TestNeeded(t *testing.T) {
	t.Parallel()
	target := bob
	for _, c := range []struct {
		e    eventauth.Event
		want []eventauth.Key
	}{
		{eventauth.Event{Type: "m.room.create", Sender: alice}, nil},
		{eventauth.Event{Type: "m.room.message", Sender: alice},
			[]eventauth.Key{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: alice}}},
		{eventauth.Event{Type: "m.room.member", Sender: bob, StateKey: &target, Content: []byte(`{"membership":"join","join_authorised_via_users_server":"@alice:hs1"}`)},
			[]eventauth.Key{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: bob}, {Type: "m.room.join_rules"}, {Type: "m.room.member", StateKey: alice}}},
		{eventauth.Event{Type: "m.room.member", Sender: alice, StateKey: &target, Content: []byte(`{}`)},
			[]eventauth.Key{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: alice}, {Type: "m.room.member", StateKey: bob}, {Type: "m.room.join_rules"}}},
	} {
		if got := eventauth.Needed(&c.e); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, want %v", c.e.Type, got, c.want)
		}
	}
}
