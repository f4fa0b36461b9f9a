package e2ee_test

import (
	"regexp"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// TestEventKindsHaveNames: every kind has a name of its own, which programs
// can rely on.
func TestEventKindsHaveNames(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]e2ee.EventKind{}
	kinds := e2ee.EventKinds()
	if len(kinds) < 12 || kinds[0] != e2ee.EventMessage || kinds[len(kinds)-1] != e2ee.EventSecret {
		t.Fatalf("got the kinds %v: a kind is missing", kinds)
	}
	for _, k := range kinds {
		name := k.String()
		if !form.MatchString(name) || name == "unknown" {
			t.Errorf("kind %d: got the name %q", int(k), name)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("the kinds %d and %d are both called %q", int(other), int(k), name)
		}
		seen[name] = k
	}
	for _, k := range []e2ee.EventKind{-1, 0, kinds[len(kinds)-1] + 1} {
		if got := k.String(); got != "unknown" {
			t.Errorf("kind %d: got %q, want unknown", int(k), got)
		}
	}
}
