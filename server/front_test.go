package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// A bare front does nothing.
type bare struct{}

func (bare) Close() error { return nil }

// network makes a network of a front that exists already.
func network(name quinta.NetworkName, f server.Front) server.Network {
	return server.Network{Name: name, New: func(*server.Core) (server.Front, error) { return f, nil }}
}

// A site answers its paths with its name.
type site struct {
	bare
	name  string
	paths []string
}

func (s site) Paths() []string                                  { return s.paths }
func (s site) ServeHTTP(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s.name) }

func TestTheLongestPathWins(t *testing.T) {
	t.Parallel()
	c, err := server.Open(t.Context(), config(t), []server.Network{
		network("wide", site{name: "wide", paths: []string{"/api/", "/.well-known/wide/"}}),
		network("deep", site{name: "deep", paths: []string{"/api/v1/", "/websocket", "/.well-known/deep"}}),
		network("none", bare{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := c.Handler(site{name: "home"})
	for path, want := range map[string]string{
		"/": "home", "/api": "home", "/api/": "wide", "/api/v": "wide", "/api/v1": "wide", "/api/v1/": "deep", "/api/v1/x/y": "deep",
		"/websocket": "deep", "/websocket/": "home", "/websockets": "home", "/.well-known/deep": "deep", "/.well-known/wide/x": "wide", "/.well-known/": "home",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s is answered by %q, want %q", path, got, want)
		}
	}
}

func TestPathsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b []string
		want string
	}{
		{[]string{"/a/"}, []string{"/b", "/a/"}, "a and b both claim the path /a/"},
		{[]string{"/a"}, []string{"/a"}, "both claim the path /a"},
		{[]string{"/a/", "/a/"}, nil, "a and a both claim"},
		{[]string{"/"}, nil, `a claims "/", which is not a path`},
		{[]string{""}, nil, "not a path"},
		{[]string{"a/"}, nil, "not a path"},
		{[]string{"//a/"}, nil, "not a path"},
	} {
		_, err := server.Open(t.Context(), config(t), []server.Network{network("a", site{paths: tc.a}), network("b", site{paths: tc.b})})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q and %q: got %v, want %q", tc.a, tc.b, err, tc.want)
		}
	}
}

// TestNetworksThatRun: a network that does not run answers nothing, and what
// it keeps for an account goes with the account all the same.
func TestNetworksThatRun(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Networks = []quinta.NetworkName{"on", "on"}
	c, err := server.Open(t.Context(), cfg, []server.Network{
		network("on", site{name: "on", paths: []string{"/on/"}}),
		network("off", site{name: "off", paths: []string{"/off/"}}),
		network("keeper", &keeper{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for path, want := range map[string]string{"/on/": "on", "/off/": "home"} {
		w := httptest.NewRecorder()
		c.Handler(site{name: "home"}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s is answered by %q, want %q", path, got, want)
		}
	}
	if err := c.AddAccount(t.Context(), "alice", "password"); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveAccount(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := fact(t, c, "closing"); got != "alice" {
		t.Errorf("the network that is off was told of %q, want alice", got)
	}
	cfg = config(t)
	cfg.Networks = []quinta.NetworkName{"irc"}
	if _, err := server.Open(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), `no network "irc"`) {
		t.Errorf("got %v, want that there is no such network", err)
	}
}
