// Package require says what becomes of a test whose peer (another program:
// a database, a client of another make) is not on the machine. [Peer] is the
// one rule: a plain "go test ./..." leaves the test out and says so in one
// line; with QUINTA_REQUIRE_PEERS set, as "make test" does, it fails.
package require

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Env names the environment variable that turns a missing peer into a
// failure. Any value but the empty one counts.
const Env = "QUINTA_REQUIRE_PEERS"

// Peer continues if err is nil. Otherwise the peer called name is missing for
// the reason err, and the test ends: failed if [Env] is set, skipped if not.
func Peer(tb testing.TB, name string, err error) {
	tb.Helper()
	if err == nil {
		return
	}
	line := fmt.Sprintf("left out: %s is missing: %v (testkit/peer/install.sh brings it)", name, err)
	if os.Getenv(Env) != "" {
		tb.Fatal(line)
	}
	tb.Skip(line)
}

// Program returns the path of the executable called name, looked up as a
// shell would, and applies the rule of [Peer] if there is none.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	Peer(tb, name, err)
	return path
}
