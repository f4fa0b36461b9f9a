package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

// dataPath is the path of account data; room may be empty.
func dataPath(u *user, room, typ string) string {
	p := "/user/" + esc(u.ID)
	if room != "" {
		p += "/rooms/" + esc(room)
	}
	return p + "/account_data/" + esc(typ)
}

func TestAddAccountData(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		for _, room := range []string{"", "!room:hs1"} {
			p := v3 + dataPath(alice, room, "test.key")
			alice.get(p).fails(404, "M_NOT_FOUND")
			alice.put(p, object{"value": "first", "n": 1.5}).want(200)
			alice.put(p, object{"value": "second"}).want(200)
			if got := alice.get(p).want(200).text("value"); got != "second" {
				t.Errorf("got %q, want second", got)
			}
			bob.get(p).fails(403, "M_FORBIDDEN")
			bob.put(p, object{"value": "bob's"}).fails(403, "M_FORBIDDEN")
			s.nobody().get(p).fails(401, "M_MISSING_TOKEN")
			alice.put(p, `["no object"]`).fails(400, "M_BAD_JSON")
			alice.put(p, `{`).fails(400, "M_NOT_JSON")
			alice.put(p, object{"v": strings.Repeat("x", 300<<10)}).fails(413, "M_TOO_LARGE")
			if got := alice.get(p).want(200).text("value"); got != "second" {
				t.Errorf("after refusals: got %q, want second", got)
			}
			for _, typ := range []string{"m.fully_read", "m.push_rules"} {
				alice.put(v3+dataPath(alice, room, typ), object{"event_id": "$x"}).fails(405, "M_BAD_JSON")
			}
			alice.put(v3+dataPath(alice, room, strings.Repeat("t", 256)), object{"a": 1}).fails(400, "M_TOO_LARGE")
		}
		if got := alice.get(v3+dataPath(alice, "", "m.push_rules")).want(200).at("global", "override"); got == nil {
			t.Error("m.push_rules: got no rules")
		}
		alice.put(v3+dataPath(alice, "room", "test.key"), object{"a": 1}).fails(400, "M_INVALID_PARAM")
	})
}

func TestRemovingAccountData(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		const unstable = "/_matrix/client/unstable/org.matrix.msc3391"
		for _, room := range []string{"", "!room:hs1"} {
			p := dataPath(alice, room, "test.key")
			alice.put(v3+p, object{"value": 1}).want(200)
			alice.delete(unstable+p, nil).want(200)
			alice.get(v3+p).fails(404, "M_NOT_FOUND")
			alice.delete(unstable+p, nil).want(200)

			alice.put(v3+p, object{"value": 2}).want(200)
			alice.put(v3+p, object{}).want(200)
			alice.get(v3+p).fails(404, "M_NOT_FOUND")
			alice.delete(unstable+dataPath(alice, room, "m.fully_read"), nil).fails(405, "M_BAD_JSON")
		}
	})
}

func TestTags(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		p := v3 + "/user/" + esc(alice.ID) + "/rooms/" + esc("!room:hs1") + "/tags"
		tags := func() string { return fmt.Sprint(alice.get(p).want(200).at("tags")) }
		if got := tags(); got != "map[]" {
			t.Errorf("got %s, want none", got)
		}
		alice.put(p+"/m.favourite", object{"order": 0.25}).want(200)
		alice.put(p+"/"+esc("u.a/b"), nil).want(200)
		if got, want := tags(), "map[m.favourite:map[order:0.25] u.a/b:map[]]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := fmt.Sprint(alice.get(v3+dataPath(alice, "!room:hs1", "m.tag")).want(200).at("tags", "m.favourite", "order")); got != "0.25" {
			t.Errorf("as account data: got %s, want 0.25", got)
		}
		alice.put(p+"/x", object{"order": "first"}).fails(400, "M_BAD_JSON")
		alice.put(p+"/"+strings.Repeat("x", 256), object{}).fails(400, "M_TOO_LARGE")
		bob.put(p+"/x", object{}).fails(403, "M_FORBIDDEN")
		bob.get(p).fails(403, "M_FORBIDDEN")
		alice.delete(p+"/m.favourite", nil).want(200)
		alice.delete(p+"/m.favourite", nil).want(200)
		if got, want := tags(), "map[u.a/b:map[]]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		alice.put(v3+dataPath(alice, "!room:hs1", "m.tag"), object{"tags": "of my own"}).want(200)
		if got := tags(); got != "map[]" {
			t.Errorf("what is not tags: got %s, want none", got)
		}
		alice.put(p+"/x", object{}).want(200)
		if got := tags(); got != "map[x:map[]]" {
			t.Errorf("got %s, want x", got)
		}
	})
}
