package cert_test

import (
	"testing"

	"github.com/quinta-chat/quinta/testkit/vectors/ca"
)

// TestVectors runs the vectors of this package's forms.
func TestVectors(t *testing.T) {
	t.Parallel()
	ca.Suite.Run(t, "../../../testkit/vectors/ca", "certificate", "request", "crl", "renewal", "approval", "legacy-key", "legacy-renewal", "name")
}
