package eventauth_test

import (
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

// FuzzCheck throws content of any shape at the rules, as a proposed event and
// as state, and holds the outcome against what no version may ever allow.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{"users":{"@mallory:hs1":100}}`, `{"users_default":100}`, `{"users":{"@mallory:hs1":"100"}}`, `{"users":null}`,
		`{"membership":"join"}`, `{"Membership":"join"}`, `{"membership":{"toString":1}}`, `{"__proto__":{"ban":0}}`,
		`{"join_rule":"public"}`, `{"join_rule":["public"]}`, `{"events":{"m.room.power_levels":-1e9}}`, `{"ban":-9007199254740991}`,
	} {
		f.Add(byte(11), "m.room.power_levels", "", []byte(s))
		f.Add(byte(5), "m.room.member", "@mallory:hs1", []byte(s))
		f.Add(byte(12), "m.room.join_rules", "", []byte(s))
	}
	const mallory = "@mallory:hs1"
	f.Fuzz(func(t *testing.T, n byte, typ, key string, raw []byte) {
		v := eventauth.Version(n%12) + 1
		content, err := eventauth.Canonical(raw)
		if err != nil {
			return
		}
		r := newRoom(v)
		users := `{"@alice:hs1":100}`
		if v.RoomIDFromCreate() {
			users = `{}`
		}
		r.levels(`{"users":` + users + `,"events":{"m.room.create":100}}`)
		r.joinRule("invite")
		r.member(mallory, "join")
		e := r.event(typ, &key, mallory, string(content))
		if _, err := eventauth.Redact(v, typ, content); err != nil {
			t.Fatalf("redacting: %v", err)
		}
		err = r.check(e)
		var rej *eventauth.Rejected
		if err != nil && !errors.As(err, &rej) {
			t.Fatalf("got %v, want a *Rejected", err)
		}
		// A member without power sets no state but memberships; and of those
		// only his own, or an invitation. Before version 6 also aliases.
		if err == nil && typ != "m.room.third_party_invite" && (typ != "m.room.aliases" || v >= 6) {
			m := e.Membership()
			if typ != "m.room.member" || key != mallory && m != "invite" || key == alice {
				t.Fatalf("version %v: %s %q was allowed: %s", v, typ, key, content)
			}
		}
		// As state it must neither crash the rules nor give him power: a
		// creator's message still passes or is refused by a named rule.
		r.put(typ, key, alice, string(content))
		if err := r.check(r.event("m.room.message", nil, alice, `{}`)); err != nil && !errors.As(err, &rej) {
			t.Fatalf("got %v, want a *Rejected", err)
		}
		_ = eventauth.Needed(e)
	})
}
