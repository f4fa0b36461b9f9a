package pushrule_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
)

func event(t *testing.T, raw string) *pushrule.Event {
	t.Helper()
	e, err := pushrule.NewEvent([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPredefinedRulesMatch(t *testing.T) {
	t.Parallel()
	ev := pushrule.Compile(pushrule.Defaults(alice), alice)
	yes := func(string) bool { return true }
	no := func(string) bool { return false }
	for _, c := range []struct {
		what, event string
		ctx         pushrule.Context
		rule        string
		notify, hi  bool
	}{
		{"message", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x"}}`, pushrule.Context{Members: 3}, ".m.rule.message", true, false},
		{"between two", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x"}}`, pushrule.Context{Members: 2}, ".m.rule.room_one_to_one", true, false},
		{"encrypted", `{"type":"m.room.encrypted","sender":"@b:c","content":{}}`, pushrule.Context{Members: 3}, ".m.rule.encrypted", true, false},
		{"encrypted between two", `{"type":"m.room.encrypted","sender":"@b:c","content":{}}`, pushrule.Context{Members: 2}, ".m.rule.encrypted_room_one_to_one", true, false},
		{"own message", `{"type":"m.room.message","sender":"@alice:hs1","content":{"body":"alice"}}`, pushrule.Context{}, "", false, false},
		{"notice", `{"type":"m.room.message","sender":"@b:c","content":{"msgtype":"m.notice","body":"alice"}}`, pushrule.Context{}, ".m.rule.suppress_notices", false, false},
		{"call", `{"type":"m.call.invite","sender":"@b:c","content":{}}`, pushrule.Context{}, ".m.rule.call", true, false},
		{"invitation", `{"type":"m.room.member","sender":"@b:c","state_key":"@alice:hs1","content":{"membership":"invite"}}`, pushrule.Context{}, ".m.rule.invite_for_me", true, false},
		{"another's invitation", `{"type":"m.room.member","sender":"@b:c","state_key":"@x:c","content":{"membership":"invite"}}`, pushrule.Context{}, ".m.rule.member_event", false, false},
		{"mention", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x","m.mentions":{"user_ids":["@x:c","@alice:hs1"]}}}`, pushrule.Context{}, ".m.rule.is_user_mention", true, true},
		{"name in the text", `{"type":"m.room.message","sender":"@b:c","content":{"body":"hi Alice!"}}`, pushrule.Context{}, ".m.rule.contains_user_name", true, true},
		{"name in the text, others mentioned", `{"type":"m.room.message","sender":"@b:c","content":{"body":"hi alice","m.mentions":{}}}`, pushrule.Context{}, ".m.rule.message", true, false},
		{"display name", `{"type":"m.room.message","sender":"@b:c","content":{"body":"hi WONDER land."}}`, pushrule.Context{DisplayName: "Wonder Land"}, ".m.rule.contains_display_name", true, true},
		{"display name, others mentioned", `{"type":"m.room.message","sender":"@b:c","content":{"body":"Wonder","m.mentions":{}}}`, pushrule.Context{DisplayName: "Wonder"}, ".m.rule.message", true, false},
		{"room mention", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x","m.mentions":{"room":true}}}`, pushrule.Context{MayNotify: yes}, ".m.rule.is_room_mention", true, true},
		{"room mention without the level", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x","m.mentions":{"room":true}}}`, pushrule.Context{MayNotify: no}, ".m.rule.message", true, false},
		{"room mention as text", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x","m.mentions":{"room":"true"}}}`, pushrule.Context{MayNotify: yes}, ".m.rule.message", true, false},
		{"@room", `{"type":"m.room.message","sender":"@b:c","content":{"body":"hi @room now"}}`, pushrule.Context{MayNotify: yes}, ".m.rule.roomnotif", true, true},
		{"@room without the level", `{"type":"m.room.message","sender":"@b:c","content":{"body":"@room"}}`, pushrule.Context{MayNotify: no}, ".m.rule.message", true, false},
		{"tombstone", `{"type":"m.room.tombstone","state_key":"","sender":"@b:c","content":{}}`, pushrule.Context{}, ".m.rule.tombstone", true, true},
		{"reaction", `{"type":"m.reaction","sender":"@b:c","content":{}}`, pushrule.Context{}, ".m.rule.reaction", false, false},
		{"server acl", `{"type":"m.room.server_acl","state_key":"","sender":"@b:c","content":{}}`, pushrule.Context{}, ".m.rule.room.server_acl", false, false},
		{"edit", `{"type":"m.room.message","sender":"@b:c","content":{"body":"x","m.relates_to":{"rel_type":"m.replace"}}}`, pushrule.Context{}, ".m.rule.suppress_edits", false, false},
		{"unknown", `{"type":"x.y","sender":"@b:c","content":{}}`, pushrule.Context{}, "", false, false},
	} {
		got := ev.Match(event(t, c.event), c.ctx)
		if got.RuleID != c.rule || got.Notify() != c.notify || got.Highlight() != c.hi {
			t.Errorf("%s: got %q notify %v highlight %v, want %q %v %v", c.what, got.RuleID, got.Notify(), got.Highlight(), c.rule, c.notify, c.hi)
		}
	}
}

// matches evaluates one condition alone.
func matches(t *testing.T, cond pushrule.Condition, raw string, ctx pushrule.Context) bool {
	t.Helper()
	rs := pushrule.RuleSet{Override: []pushrule.Rule{{RuleID: "r", Enabled: true, Conditions: []pushrule.Condition{cond}}}}
	return pushrule.Compile(rs, alice).Match(event(t, raw), ctx).RuleID == "r"
}

func TestEventMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, pattern, event string
		want                bool
	}{
		{"content.body", "cake", `{"content":{"body":"I like CAKE."}}`, true},
		{"content.body", "cake", `{"content":{"body":"cakes"}}`, false},
		{"content.body", "cake", `{"content":{"body":"pan_cake"}}`, false},
		{"content.body", "cake", `{"content":{"body":"cakes and cake"}}`, true},
		{"content.body", "cake*lie", `{"content":{"body":"the cake is a lie"}}`, true},
		{"content.body", "c?ke", `{"content":{"body":"coke"}}`, true},
		{"content.body", "ex*ple", `{"content":{"body":"An exciting triple-whammy"}}`, true},
		{"content.body", "exa*", `{"content":{"body":"example"}}`, true},
		{"content.body", "a.b", `{"content":{"body":"axb"}}`, false},
		{"content.body", "a\nb", `{"content":{"body":"a\nb"}}`, true},
		{"content.body", "x", `{"content":{"body":3}}`, false},
		{"content.topic", "lunc?*", `{"content":{"topic":"Lunch plans"}}`, true},
		{"content.topic", "lunch", `{"content":{"topic":"Lunch plans"}}`, false},
		{"content.topic", "*plans", `{"content":{"topic":"Lunch\nplans"}}`, true},
		{"type", "m.room.*", `{"type":"m.room.member"}`, true},
		{"state_key", "", `{"state_key":""}`, true},
		{"state_key", "", `{"type":"x"}`, false},
		{`content.m\.x.y`, "z", `{"content":{"m.x":{"y":"z"}}}`, true},
		{`content.m\\x`, "z", `{"content":{"m\\x":"z"}}`, true},
		{`content.a\b`, "z", `{"content":{"a\\b":"z"}}`, true},
		{"content.m.x", "z", `{"content":{"m.x":"z"}}`, false},
		{"content.body.x", "z", `{"content":{"body":"z"}}`, false},
		{"", "z", `{"":"z"}`, true},
	} {
		got := matches(t, pushrule.Condition{Kind: "event_match", Key: c.key, Pattern: c.pattern}, c.event, pushrule.Context{})
		if got != c.want {
			t.Errorf("%s ~ %q in %s: got %v, want %v", c.key, c.pattern, c.event, got, c.want)
		}
	}
}

func TestOtherConditions(t *testing.T) {
	t.Parallel()
	const e = `{"content":{"n":1,"s":"a","t":true,"z":null,"l":[1,"a",null,{}],"o":{}}}`
	is := func(key, value string) pushrule.Condition {
		return pushrule.Condition{Kind: "event_property_is", Key: key, Value: json.RawMessage(value)}
	}
	has := func(key, value string) pushrule.Condition {
		return pushrule.Condition{Kind: "event_property_contains", Key: key, Value: json.RawMessage(value)}
	}
	count := func(s string) pushrule.Condition { return pushrule.Condition{Kind: "room_member_count", Is: s} }
	for _, c := range []struct {
		cond pushrule.Condition
		want bool
	}{
		{is("content.n", "1"), true}, {is("content.n", `"1"`), false}, {is("content.n", "2"), false},
		{is("content.s", `"a"`), true}, {is("content.s", `"A"`), false}, {is("content.t", "true"), true}, {is("content.t", "false"), false},
		{is("content.z", "null"), true}, {is("content.missing", "null"), false}, {is("content.o", "{}"), false}, {is("content.l", "[]"), false}, {is("content.n", ""), false},
		{has("content.l", "1"), true}, {has("content.l", `"a"`), true}, {has("content.l", "null"), true}, {has("content.l", `"b"`), false},
		{has("content.l", "{}"), false}, {has("content.s", `"a"`), false},
		{count("3"), true}, {count("==3"), true}, {count("<4"), true}, {count("<3"), false}, {count(">2"), true}, {count(">3"), false},
		{count("<=3"), true}, {count(">=3"), true}, {count(">=4"), false}, {count("2"), false}, {count("=3"), false}, {count("<>3"), false},
		{count(""), false}, {count("x"), false}, {count("3x"), false}, {count("-3"), false},
		{pushrule.Condition{Kind: "device"}, false}, {pushrule.Condition{Kind: "sender_notification_permission", Key: "room"}, false},
		{pushrule.Condition{Kind: "contains_display_name"}, false},
	} {
		if got := matches(t, c.cond, e, pushrule.Context{Members: 3}); got != c.want {
			t.Errorf("%+v value %s: got %v, want %v", c.cond, c.cond.Value, got, c.want)
		}
	}
}

func TestOwnRulesMatch(t *testing.T) {
	t.Parallel()
	var s pushrule.Set
	for kind, r := range map[pushrule.Kind]pushrule.Rule{
		pushrule.Room:    {RuleID: "!quiet:hs1", Actions: acts()},
		pushrule.Sender:  {RuleID: "@loud:hs1", Actions: acts(`"notify"`, `{"set_tweak":"highlight","value":false}`)},
		pushrule.Content: {RuleID: "w", Pattern: "tea*", Actions: acts(`"notify"`, `{"set_tweak":"highlight","value":true}`)},
	} {
		if err := s.Put(kind, r, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	match := func(room, sender, body string) pushrule.Match {
		raw := `{"type":"m.room.message","room_id":"` + room + `","sender":"` + sender + `","content":{"body":"` + body + `"}}`
		return pushrule.Compile(s.Rules(alice), alice).Match(event(t, raw), pushrule.Context{Members: 5})
	}
	for _, c := range []struct{ room, sender, body, want string }{
		{"!quiet:hs1", "@loud:hs1", "x", "!quiet:hs1"},
		{"!a:hs1", "@loud:hs1", "x", "@loud:hs1"},
		{"!quiet:hs1", "@loud:hs1", "teapot", "w"},
		{"!a:hs1", "@b:hs1", "x", ".m.rule.message"},
	} {
		if got := match(c.room, c.sender, c.body).RuleID; got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
	if m := match("!a:hs1", "@loud:hs1", "x"); m.Highlight() || !m.Notify() {
		t.Errorf("highlight false: got %s", m.Actions)
	}
	if err := s.SetEnabled(pushrule.Override, ".m.rule.master", true); err != nil {
		t.Fatal(err)
	}
	if m := match("!a:hs1", "@loud:hs1", "tea"); m.RuleID != ".m.rule.master" || m.Notify() {
		t.Errorf("with the master rule: got %+v", m)
	}
}

// TestHostilePattern: no pattern and no text makes matching slow.
func TestHostilePattern(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(strings.Repeat("a", 6000))
	if err != nil {
		t.Fatal(err)
	}
	e := `{"content":{"body":` + string(body) + `}}`
	start := time.Now()
	for _, p := range []string{strings.Repeat("a*", 100) + "b", strings.Repeat("*?", 100) + "b", strings.Repeat("a", 1024)} {
		if matches(t, pushrule.Condition{Kind: "event_match", Key: "content.body", Pattern: p}, e, pushrule.Context{}) {
			t.Errorf("%.20s matched", p)
		}
	}
	if matches(t, pushrule.Condition{Kind: "contains_display_name"}, e, pushrule.Context{DisplayName: strings.Repeat("a", 1000)}) {
		t.Error("a part of a word matched as a display name")
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(`{"type":"m.room.message","content":{"body":"x"}}`, "content.body", "x*", "==2", []byte(`1`))
	f.Add(`{"a":{"b":[1,2,{}]}}`, `a.b`, "?", "<", []byte(`null`))
	f.Fuzz(func(t *testing.T, raw, key, pattern, is string, value []byte) {
		e, err := pushrule.NewEvent([]byte(raw))
		if err != nil {
			return
		}
		for _, kind := range []string{"event_match", "contains_display_name", "room_member_count", "event_property_is", "event_property_contains"} {
			var s pushrule.Set
			c := pushrule.Condition{Kind: kind, Key: key, Pattern: pattern, Is: is, Value: value}
			if s.Put(pushrule.Override, pushrule.Rule{RuleID: "r", Conditions: []pushrule.Condition{c}}, "", "") != nil {
				continue
			}
			pushrule.Compile(s.Rules(alice), alice).Match(e, pushrule.Context{DisplayName: pattern, Members: 2})
		}
	})
}
