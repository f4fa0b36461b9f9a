package secretstorage_test

import (
	"testing"

	"github.com/quinta-chat/quinta/testkit/vectors/matrix"
)

// TestVectors runs the vectors of this package's forms.
func TestVectors(t *testing.T) {
	t.Parallel()
	matrix.Suite.Run(t, "../../testkit/vectors/matrix", "secret", "secret-signing", "secret-key")
}
