package server_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/server"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	even := func(s string) error {
		if len(s)%2 != 0 {
			return errors.New("the length is odd")
		}
		return nil
	}
	n := network("n", bare{})
	n.Settings = []server.Setting{{Name: "first", Default: "de"}, {Name: "second", Default: "", Secret: true, Check: even}, server.Switch("third", "off", "x")}
	cfg := config(t)
	cfg.Settings = map[string]string{"second": "abcd"}
	c, err := server.Open(t.Context(), cfg, []server.Network{n})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string]string{"first": "de", "second": "abcd", "third": "off"} {
		if got := c.Setting(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a setting that no network has was answered")
			}
		}()
		c.Setting("fourth")
	}()
	for name, tc := range map[string]struct{ value, want string }{
		"second": {"odd", "second: the length is odd"},
		"third":  {"yes", `third: "yes" is neither on nor off`},
		"fourth": {"x", `no network has a setting "fourth"`},
	} {
		cfg := config(t)
		cfg.Settings = map[string]string{name: tc.value}
		if _, err := server.Open(t.Context(), cfg, []server.Network{n}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s = %s: got %v, want %q", name, tc.value, err, tc.want)
		}
	}
}

// TestNamesAreClaimedOnce: neither two networks nor a network and the program
// share a name.
func TestNamesAreClaimedOnce(t *testing.T) {
	t.Parallel()
	flag := func(names ...string) (out []server.CommandFlag) {
		for _, n := range names {
			out = append(out, server.CommandFlag{Name: n})
		}
		return out
	}
	one := server.Network{Name: "one", Settings: []server.Setting{{Name: "one-listen"}}, Commands: []server.Command{{Name: "one show", Flags: flag("json")}}}
	for _, tc := range []struct {
		name string
		two  server.Network
		want string
	}{
		{"apart", server.Network{Name: "two", Settings: []server.Setting{{Name: "two-listen"}}, Commands: []server.Command{{Name: "two show", Flags: flag("json", "all")}}}, ""},
		{"network", server.Network{Name: "one"}, `the network name "one" is claimed twice`},
		{"setting", server.Network{Name: "two", Settings: []server.Setting{{Name: "one-listen"}}}, `the setting "one-listen" is claimed twice, by one and by two`},
		{"setting of the program", server.Network{Name: "two", Settings: []server.Setting{{Name: "listen"}}}, `the setting "listen" is claimed twice, by quintad and by two`},
		{"form of a setting", server.Network{Name: "two", Settings: []server.Setting{{Name: "Two_Listen"}}}, "not a name for a setting"},
		{"command", server.Network{Name: "two", Commands: []server.Command{{Name: "one show"}}}, `the command "one show" is claimed twice`},
		{"command of the program", server.Network{Name: "two", Commands: []server.Command{{Name: "user add"}}}, `the command "user add" is claimed twice, by quintad and by two`},
		{"command within another", server.Network{Name: "two", Commands: []server.Command{{Name: "one"}}}, `the command "one" of two hides "one show" of one`},
		{"flag and setting", server.Network{Name: "two", Commands: []server.Command{{Name: "two show", Flags: flag("one-listen")}}}, "--one-listen of two show is also a setting of one"},
		{"flag and setting of the program", server.Network{Name: "two", Commands: []server.Command{{Name: "two show", Flags: flag("listen")}}}, "--listen of two show is also a setting of quintad"},
		{"flag twice", server.Network{Name: "two", Commands: []server.Command{{Name: "two show", Flags: flag("a", "a")}}}, `the flag "a" is claimed twice`},
		{"form of a flag", server.Network{Name: "two", Commands: []server.Command{{Name: "two show", Flags: flag("-a")}}}, "not a name for a flag"},
	} {
		err := server.CheckNames([]server.Network{one, tc.two}, []string{"listen"}, []string{"user add"})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := server.Open(t.Context(), config(t), []server.Network{network("one", bare{}), network("one", bare{})}); err == nil {
		t.Error("two networks of one name were opened")
	}
}
