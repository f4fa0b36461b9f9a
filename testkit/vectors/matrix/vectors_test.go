package matrix

import (
	"flag"
	"testing"

	"github.com/quinta-chat/quinta/testkit/vectors"
)

var update = flag.Bool("update", false, "make the vectors again")

// TestGenerated finds that the files are those that the fixed seeds give: none
// was changed by hand, and the forms that are written are as they were. With
// -update it makes them again.
func TestGenerated(t *testing.T) {
	t.Parallel()
	want := generate(t)
	if *update {
		if err := vectors.WriteDir(".", want); err != nil {
			t.Fatal(err)
		}
	}
	if err := vectors.Compare(".", want, inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seeds give", err)
	}
	if len(want) < 150 {
		t.Errorf("got %d vectors, want 150 at least", len(want))
	}
}

// TestEveryKindIsRun finds each kind in the test of a package that owns its
// form.
func TestEveryKindIsRun(t *testing.T) {
	t.Parallel()
	Suite.CheckRun(t, "../../..", "e2ee/*", "internal/*")
}
