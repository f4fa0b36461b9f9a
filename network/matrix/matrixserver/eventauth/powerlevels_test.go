package eventauth_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

func TestPowerLevelChanges(t *testing.T) {
	t.Parallel()
	const base = `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`
	for _, c := range []struct {
		what, next string
		since      eventauth.Version // the first version that refuses; 0 none
	}{
		{"nothing", base, 0},
		{"lowers himself", `{"users":{"@bob:hs1":20,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 0},
		{"removes himself", `{"users":{"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 0},
		{"raises a lower to his own", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":50},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 0},
		{"raises a lower above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":51},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"raises himself", `{"users":{"@bob:hs1":51,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"adds a user above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10,"@new:hs1":51},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"lowers an equal", `{"users":{"@bob:hs1":50,"@carol:hs1":49,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"removes a higher", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"changes an event level below him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":50,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 0},
		{"changes an event level above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":10},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"removes an event level above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"adds an event level above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60,"c":51},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
		{"changes a notification above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":0},"ban":50,"state_default":40,"kick":60}`, 6},
		{"raises ban above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":51,"state_default":40,"kick":60}`, 1},
		{"lowers kick from above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":0}`, 1},
		{"removes kick from above him", `{"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40}`, 1},
		{"adds users_default above him", `{"users_default":51,"users":{"@bob:hs1":50,"@carol:hs1":50,"@mod:hs1":60,"@low:hs1":10},"events":{"a":40,"b":60},"notifications":{"room":60},"ban":50,"state_default":40,"kick":60}`, 1},
	} {
		for _, v := range all() {
			r := newRoom(v)
			r.member(bob, "join")
			r.levels(base)
			key, rule := "", ""
			if c.since != 0 && v >= c.since {
				rule = "m.room.power_levels"
			}
			want(t, v, c.what, r.check(r.event("m.room.power_levels", &key, bob, c.next)), rule)
		}
	}
}

// TestOddPowerLevels is the part of the attack "hostile events" that concerns
// power levels: what is not a level is refused, never guessed at.
func TestOddPowerLevels(t *testing.T) {
	t.Parallel()
	const rule = "m.room.power_levels"
	odd := []string{
		`null`, `true`, `1.5`, `1e400`, `"x"`, `""`, `"1.5"`, `[]`, `{}`, `9007199254740992`, `-9007199254740992`,
		`99999999999999999999999999`, `"99999999999999999999999"`, `"0x10"`, `"1_0"`,
	}
	strs := []string{`"10"`, `" 10 "`, `"+10"`, `"-1"`}
	for _, v := range all() {
		r := newRoom(v)
		key := ""
		try := func(content string) error { return r.check(r.event(rule, &key, alice, content)) }
		for _, format := range []string{
			`{"ban":%s}`, `{"kick":%s}`, `{"invite":%s}`, `{"redact":%s}`, `{"users_default":%s}`, `{"events_default":%s}`, `{"state_default":%s}`,
			`{"users":{"@bob:hs1":%s}}`, `{"events":{"x":%s}}`, `{"notifications":{"room":%s}}`,
		} {
			for _, o := range odd {
				want(t, v, fmt.Sprintf(format, o), try(fmt.Sprintf(format, o)), rule)
			}
			for _, s := range strs {
				expect := ""
				if v >= 10 {
					expect = rule
				}
				want(t, v, fmt.Sprintf(format, s), try(fmt.Sprintf(format, s)), expect)
			}
			want(t, v, fmt.Sprintf(format, "-7"), try(fmt.Sprintf(format, "-7")), "")
		}
		for _, content := range []string{`{"users":[]}`, `{"users":3}`, `{"events":"x"}`, `{"notifications":[1]}`, `{"users":{"bob":1}}`, `{"users":{"@bob":1}}`, `{"users":{"@b:":1}}`} {
			want(t, v, content, try(content), rule)
		}
	}
}

// TestBrokenLevelsInState: a room whose power levels cannot be read accepts
// nothing, instead of falling back to levels that admit all.
func TestBrokenLevelsInState(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		for _, content := range []string{`{"users":3}`, `{"ban":{}}`, `[]`, `{"events":{"a":null}}`} {
			r.levels(content)
			want(t, v, content, r.check(r.event("m.room.message", nil, alice, `{}`)), "m.room.power_levels")
			want(t, v, content, r.checkMember(alice, bob, "invite"), "m.room.power_levels")
		}
	}
}

func TestCreatorsAboveLevels(t *testing.T) {
	t.Parallel()
	r := newRoom(12)
	r.state[eventauth.Key{Type: "m.room.create"}].Content = []byte(`{"room_version":"12","additional_creators":["@bob:hs1"]}`)
	r.member(bob, "join")
	r.member(carol, "join")
	r.levels(`{"users":{"@carol:hs1":9007199254740991},"ban":9007199254740991,"events":{"m.room.tombstone":9007199254740991}}`)
	key := ""
	want(t, 12, "creator sends above all levels", r.check(r.event("m.room.tombstone", &key, bob, `{}`)), "")
	want(t, 12, "highest level bans a creator", r.checkMember(carol, bob, "ban"), "m.room.member ban")
	want(t, 12, "creator bans the highest level", r.checkMember(bob, carol, "ban"), "")
	want(t, 12, "creator bans a creator", r.checkMember(bob, alice, "ban"), "m.room.member ban")
	for _, u := range []string{alice, bob} {
		want(t, 12, "levels that name a creator", r.check(r.event("m.room.power_levels", &key, alice, map[string]any{"users": map[string]int{u: 100}})), "m.room.power_levels")
	}
	want(t, 12, "levels that name no creator", r.check(r.event("m.room.power_levels", &key, alice, `{"users":{"@carol:hs1":5}}`)), "")
	l, err := eventauth.LevelsOf(12, eventauth.StateOf(r.state))
	if err != nil || !l.IsCreator(bob) || l.IsCreator(carol) {
		t.Errorf("creators: got %v %v, %v", l.IsCreator(bob), l.IsCreator(carol), err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		r := newRoom(v)
		r.levels(`{"users":{"@bob:hs1":7},"users_default":3,"events":{"m.room.name":4},"events_default":2,"notifications":{"room":20}}`)
		l, err := eventauth.LevelsOf(v, eventauth.StateOf(r.state))
		if err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string][2]int64{
			"named user":         {l.User(bob), 7},
			"other user":         {l.User(carol), 3},
			"named event":        {l.Event("m.room.name", true), 4},
			"message":            {l.Event("m.room.message", false), 2},
			"state":              {l.Event("m.room.topic", true), 50},
			"@room":              {l.Notification("room"), 20},
			"other notification": {l.Notification("x"), 50},
			"ban":                {l.Named("ban"), 50},
			"kick":               {l.Named("kick"), 50},
			"redact":             {l.Named("redact"), 50},
			"invite":             {l.Named("invite"), 0},
		} {
			if c[0] != c[1] {
				t.Errorf("version %v: %s: got %d, want %d", v, what, c[0], c[1])
			}
		}
	}
}

// TestDefaultLevels: what DefaultLevels makes passes the rules of its version
// and gives the equals of the creator the creator's level.
func TestDefaultLevels(t *testing.T) {
	t.Parallel()
	for _, v := range all() {
		raw, err := json.Marshal(eventauth.DefaultLevels(v, alice, bob))
		if err != nil {
			t.Fatal(err)
		}
		r := newRoom(v)
		key := ""
		want(t, v, "default levels", r.check(r.event("m.room.power_levels", &key, alice, string(raw))), "")
		r.levels(string(raw))
		l, err := eventauth.LevelsOf(v, eventauth.StateOf(r.state))
		if err != nil {
			t.Fatal(err)
		}
		tombstone, level := int64(100), int64(100)
		if v >= 12 {
			tombstone, level = 150, 0 // bob's level comes from m.room.create
		}
		if got := l.Event("m.room.tombstone", true); got != tombstone {
			t.Errorf("version %v: tombstone: got %d, want %d", v, got, tombstone)
		}
		if got := l.User(bob); got != level {
			t.Errorf("version %v: equal: got %d, want %d", v, got, level)
		}
	}
}
