package cms_test

import (
	"testing"

	"github.com/quinta-chat/quinta/testkit/vectors/ca"
)

// TestVectors runs the vectors of this package's forms.
func TestVectors(t *testing.T) {
	t.Parallel()
	ca.Suite.Run(t, "../../testkit/vectors/ca", "cms-sealed", "cms-signed")
}
