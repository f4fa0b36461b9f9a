package quinta_test

import (
	"os/exec"
	"strings"
	"testing"
)

// linked returns all packages that are linked into a program or package of
// this module.
func linked(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pattern)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v: %s", pattern, err, errs.String())
	}
	return strings.Fields(string(out))
}

// serverOnly are the packages that a client program never links.
var serverOnly = []string{
	module + "/server/...", module + "/network/*/*server/...", module + "/network/all/servers", module + "/network/internal/incoming",
	"github.com/jackc/pgx/...", "github.com/aws/...", "gocloud.dev/...", "google.golang.org/...", "github.com/prometheus/...", "go.opentelemetry.io/...",
}

// TestClientLinksNoServer: quinta holds no server, no database of a server,
// and nothing that only a server needs. The same list finds them in quintad.
func TestClientLinksNoServer(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	deep := func(pkg string) string {
		for _, pat := range serverOnly {
			if _, ok := match(pat, pkg); ok {
				return pat
			}
		}
		return ""
	}
	for _, pkg := range linked(t, "./cmd/quinta") {
		if pat := deep(pkg); pat != "" {
			t.Errorf("quinta links %s", pkg)
		}
	}
	for _, pkg := range linked(t, "./cmd/quintad") {
		found[deep(pkg)] = true
	}
	for _, pat := range serverOnly {
		if !found[pat] {
			t.Errorf("quintad has no package like %s: the list is out of date", pat)
		}
	}
}
