package eventauth_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

const (
	alice = "@alice:hs1"
	bob   = "@bob:hs1"
	carol = "@carol:hs1"
	eve   = "@eve:other"
)

// all lists every room version.
func all() []eventauth.Version { return between(eventauth.First, eventauth.Last) }

func between(from, to eventauth.Version) []eventauth.Version {
	var out []eventauth.Version
	for v := from; v <= to; v++ {
		out = append(out, v)
	}
	return out
}

// A room is state to hold events against; its creator is alice.
type room struct {
	v     eventauth.Version
	id    string
	state map[eventauth.Key]*eventauth.Event
}

// newRoom returns a room of version v with its m.room.create and alice in it.
func newRoom(v eventauth.Version) *room {
	r := &room{v: v, id: "!room:hs1", state: map[eventauth.Key]*eventauth.Event{}}
	content := map[string]any{"room_version": v.String()}
	if v.CreatorInContent() {
		content["creator"] = alice
	}
	if v.RoomIDFromCreate() {
		r.id = "!create"
	}
	r.put("m.room.create", "", alice, content)
	r.state[eventauth.Key{Type: "m.room.create"}].ID = "$create"
	r.member(alice, "join")
	return r
}

func (r *room) event(typ string, key *string, sender string, content any) *eventauth.Event {
	raw, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		raw = string(b)
	}
	return &eventauth.Event{RoomID: r.id, Type: typ, StateKey: key, Sender: sender, Content: json.RawMessage(raw),
		PrevEvents: []string{"$before"}}
}

func (r *room) put(typ, key, sender string, content any) {
	r.state[eventauth.Key{Type: typ, StateKey: key}] = r.event(typ, &key, sender, content)
}

func (r *room) member(user, membership string) {
	r.put("m.room.member", user, user, map[string]any{"membership": membership})
}

func (r *room) joinRule(rule string) {
	r.put("m.room.join_rules", "", alice, map[string]any{"join_rule": rule})
}

// levels puts power levels with these users.
func (r *room) levels(content string) { r.put("m.room.power_levels", "", alice, content) }

func (r *room) check(e *eventauth.Event) error {
	return eventauth.Check(r.v, e, eventauth.StateOf(r.state))
}

// checkMember judges the membership of target that sender sets.
func (r *room) checkMember(sender, target, membership string) error {
	return r.check(r.event("m.room.member", &target, sender, map[string]any{"membership": membership}))
}

// want compares the outcome of a check with the rule that must refuse it, ""
// for none.
func want(t *testing.T, v eventauth.Version, what string, err error, rule string) {
	t.Helper()
	got := ""
	if err != nil {
		var r *eventauth.Rejected
		if !errors.As(err, &r) {
			t.Fatalf("version %v: %s: got error %v, want a *Rejected", v, what, err)
		}
		if got = r.Rule; r.Reason == "" {
			t.Errorf("version %v: %s: the refusal has no reason", v, what)
		}
	}
	if got != rule {
		t.Errorf("version %v: %s: got refusal by %q (%v), want %q", v, what, got, err, rule)
	}
}
