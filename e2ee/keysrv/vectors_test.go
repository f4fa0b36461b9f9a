package keysrv_test

import (
	"testing"

	vectors "github.com/quinta-chat/quinta/testkit/vectors/keysrv"
)

// TestVectors runs the vectors of this package's forms.
func TestVectors(t *testing.T) {
	t.Parallel()
	vectors.Suite.Run(t, "../../testkit/vectors/keysrv", "payload", "wrap", "device", "proof", "file")
}
