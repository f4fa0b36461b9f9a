package pushrule_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
)

func acts(list ...string) []json.RawMessage {
	out := []json.RawMessage{}
	for _, a := range list {
		out = append(out, json.RawMessage(a))
	}
	return out
}

func own(t *testing.T, s *pushrule.Set, kind pushrule.Kind) string {
	t.Helper()
	var ids []string
	rs := s.Rules(alice)
	for _, r := range rs.Of(kind) {
		if !r.Default {
			ids = append(ids, r.RuleID)
		}
	}
	return strings.Join(ids, " ")
}

func TestPutOrders(t *testing.T) {
	t.Parallel()
	var s pushrule.Set
	put := func(id, before, after string) {
		t.Helper()
		if err := s.Put(pushrule.Room, pushrule.Rule{RuleID: id}, before, after); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ id, before, after, want string }{
		{"a", "", "", "a"},
		{"b", "", "", "b a"},
		{"c", "a", "", "b c a"},
		{"d", "", "b", "b d c a"},
		{"d", "", "", "b d c a"},
		{"d", "", "a", "b c a d"},
		{"a", "b", "", "a b c d"},
	} {
		put(c.id, c.before, c.after)
		if got := own(t, &s, pushrule.Room); got != c.want {
			t.Errorf("after putting %s before %q after %q: got %s, want %s", c.id, c.before, c.after, got, c.want)
		}
	}
	if err := s.Delete(pushrule.Room, "b"); err != nil {
		t.Fatal(err)
	}
	if got := own(t, &s, pushrule.Room); got != "a c d" {
		t.Errorf("after deleting b: got %s", got)
	}
}

func TestOwnRulesStandBelowMaster(t *testing.T) {
	t.Parallel()
	var s pushrule.Set
	for _, kind := range []pushrule.Kind{pushrule.Override, pushrule.Underride} {
		if err := s.Put(kind, pushrule.Rule{RuleID: "mine"}, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	rs := s.Rules(alice)
	if rs.Override[0].RuleID != ".m.rule.master" || rs.Override[1].RuleID != "mine" || rs.Underride[0].RuleID != "mine" {
		t.Errorf("got %s, %s and %s first", rs.Override[0].RuleID, rs.Override[1].RuleID, rs.Underride[0].RuleID)
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	many := make([]pushrule.Condition, 33)
	for i := range many {
		many[i].Kind = "event_match"
	}
	for _, c := range []struct {
		what          string
		kind          pushrule.Kind
		r             pushrule.Rule
		before, after string
		want          error
	}{
		{"kind", "device", pushrule.Rule{RuleID: "a"}, "", "", pushrule.ErrNotFound},
		{"no id", pushrule.Room, pushrule.Rule{}, "", "", pushrule.ErrInvalid},
		{"dot", pushrule.Room, pushrule.Rule{RuleID: ".m.rule.x"}, "", "", pushrule.ErrInvalid},
		{"slash", pushrule.Room, pushrule.Rule{RuleID: "a/b"}, "", "", pushrule.ErrInvalid},
		{"backslash", pushrule.Room, pushrule.Rule{RuleID: `a\b`}, "", "", pushrule.ErrInvalid},
		{"long id", pushrule.Room, pushrule.Rule{RuleID: strings.Repeat("a", 256)}, "", "", pushrule.ErrInvalid},
		{"content without pattern", pushrule.Content, pushrule.Rule{RuleID: "a"}, "", "", pushrule.ErrInvalid},
		{"long pattern", pushrule.Content, pushrule.Rule{RuleID: "a", Pattern: strings.Repeat("a", 1025)}, "", "", pushrule.ErrInvalid},
		{"room with pattern", pushrule.Room, pushrule.Rule{RuleID: "a", Pattern: "x"}, "", "", pushrule.ErrInvalid},
		{"sender with conditions", pushrule.Sender, pushrule.Rule{RuleID: "a", Conditions: many[:1]}, "", "", pushrule.ErrInvalid},
		{"many conditions", pushrule.Override, pushrule.Rule{RuleID: "a", Conditions: many}, "", "", pushrule.ErrInvalid},
		{"condition without kind", pushrule.Override, pushrule.Rule{RuleID: "a", Conditions: make([]pushrule.Condition, 1)}, "", "", pushrule.ErrInvalid},
		{"object as value", pushrule.Override, pushrule.Rule{RuleID: "a", Conditions: []pushrule.Condition{{Kind: "x", Value: json.RawMessage(`{}`)}}}, "", "", pushrule.ErrInvalid},
		{"action is a number", pushrule.Room, pushrule.Rule{RuleID: "a", Actions: acts(`3`)}, "", "", pushrule.ErrInvalid},
		{"action is no tweak", pushrule.Room, pushrule.Rule{RuleID: "a", Actions: acts(`{"x":1}`)}, "", "", pushrule.ErrInvalid},
		{"many actions", pushrule.Room, pushrule.Rule{RuleID: "a", Actions: make([]json.RawMessage, 17)}, "", "", pushrule.ErrInvalid},
		{"before an unknown rule", pushrule.Room, pushrule.Rule{RuleID: "a"}, "x", "", pushrule.ErrNotFound},
		{"after an unknown rule", pushrule.Room, pushrule.Rule{RuleID: "a"}, "", "x", pushrule.ErrNotFound},
		{"before a predefined rule", pushrule.Override, pushrule.Rule{RuleID: "a"}, ".m.rule.master", "", pushrule.ErrDefault},
	} {
		var s pushrule.Set
		if err := s.Put(c.kind, c.r, c.before, c.after); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		if s.Own != nil {
			t.Errorf("%s: the refused rule was kept", c.what)
		}
	}
	var s pushrule.Set
	for i := range 1000 {
		if err := s.Put(pushrule.Room, pushrule.Rule{RuleID: fmt.Sprint(i)}, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(pushrule.Sender, pushrule.Rule{RuleID: "x"}, "", ""); !errors.Is(err, pushrule.ErrTooMany) {
		t.Errorf("rule 1001: got %v, want %v", err, pushrule.ErrTooMany)
	}
}

func TestSwitchesAndActions(t *testing.T) {
	t.Parallel()
	var s pushrule.Set
	if err := s.Put(pushrule.Sender, pushrule.Rule{RuleID: "@bob:hs1", Actions: acts(`"notify"`)}, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind pushrule.Kind
		id   string
		want error
	}{
		{pushrule.Sender, "@bob:hs1", nil},
		{pushrule.Override, ".m.rule.reaction", nil},
		{pushrule.Override, ".m.rule.message", pushrule.ErrNotFound},
		{pushrule.Room, "@bob:hs1", pushrule.ErrNotFound},
		{"nothing", "x", pushrule.ErrNotFound},
	} {
		if err := s.SetEnabled(c.kind, c.id, false); !errors.Is(err, c.want) {
			t.Errorf("SetEnabled %s %s: got %v, want %v", c.kind, c.id, err, c.want)
		}
		if err := s.SetActions(c.kind, c.id, acts(`"notify"`, `{"set_tweak":"highlight","value":false}`)); !errors.Is(err, c.want) {
			t.Errorf("SetActions %s %s: got %v, want %v", c.kind, c.id, err, c.want)
		}
		if c.want != nil {
			continue
		}
		rs := s.Rules(alice)
		for _, r := range rs.Of(c.kind) {
			if r.RuleID == c.id && (r.Enabled || len(r.Actions) != 2) {
				t.Errorf("%s: got enabled %v, actions %s", c.id, r.Enabled, r.Actions)
			}
		}
	}
	if err := s.SetActions(pushrule.Sender, "@bob:hs1", acts(`null`)); !errors.Is(err, pushrule.ErrInvalid) {
		t.Errorf("null as an action: got %v", err)
	}
	if err := s.Put(pushrule.Sender, pushrule.Rule{RuleID: "@bob:hs1", Actions: acts()}, "", ""); err != nil {
		t.Fatal(err)
	}
	if s.Rules(alice).Sender[0].Enabled {
		t.Error("replacing a disabled rule enabled it")
	}
	if err := s.Delete(pushrule.Override, ".m.rule.reaction"); !errors.Is(err, pushrule.ErrDefault) {
		t.Errorf("deleting a predefined rule: got %v, want %v", err, pushrule.ErrDefault)
	}
	if err := s.Delete(pushrule.Sender, "@carol:hs1"); !errors.Is(err, pushrule.ErrNotFound) {
		t.Errorf("deleting an unknown rule: got %v, want %v", err, pushrule.ErrNotFound)
	}
	// Switching off all actions of a predefined rule must survive storage.
	if err := s.SetActions(pushrule.Underride, ".m.rule.message", nil); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	var back pushrule.Set
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.Rules(alice), s.Rules(alice); !reflect.DeepEqual(got, want) {
		t.Errorf("after storage: got %+v, want %+v", got, want)
	}
	if other := pushrule.Defaults(alice); len(other.Override[9].Actions) != 0 || !other.Override[9].Enabled {
		t.Error("a user's change reached the predefined rules")
	}
}
