package matrixserver

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// TestCallsAreDocumented holds the list of calls in the documentation against
// the router: each path with its methods, r0 only where there is no v3.
func TestCallsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../doc/network/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	_, got, found := strings.Cut(string(text), "## Calls\n")
	if !found {
		t.Fatal("the document has no section of calls")
	}
	var have []string
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "- ") {
			have = append(have, strings.TrimSpace(line))
		}
	}
	s := documented(t)
	if !slices.Equal(have, s) {
		t.Errorf("the list of calls in the document differs from the router; it must be:\n%s", strings.Join(s, "\n"))
	}
}

// documented writes the calls of a server as the document has them.
func documented(t *testing.T) []string {
	methods := map[string][]string{}
	var walk func(n *node)
	walk = func(n *node) {
		for m, e := range n.methods {
			methods[e.route] = append(methods[e.route], m)
		}
		for _, next := range n.fixed {
			walk(next)
		}
		if n.any != nil {
			walk(n.any)
		}
	}
	walk(&serverOf(t).router.root)
	var out []string
	for route, ms := range methods {
		if v3 := strings.Replace(route, "/client/r0/", "/client/v3/", 1); v3 != route && methods[v3] != nil {
			continue
		}
		slices.Sort(ms)
		out = append(out, "- `"+route+"` "+strings.Join(ms, " "))
	}
	slices.Sort(out)
	return out
}

// serverOf returns the homeserver of a core of its own.
func serverOf(t *testing.T) *homeserver {
	t.Helper()
	var s *homeserver
	n := Network
	n.New = func(c *server.Core) (f server.Front, err error) {
		s, err = newServer(c)
		return s, err
	}
	c, err := server.Open(t.Context(), server.Config{
		Name: "hs1", DB: db.Config{Path: filepath.Join(t.TempDir(), "quinta.db")}, Now: time.Now, Rand: rand.Reader,
	}, []server.Network{n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
