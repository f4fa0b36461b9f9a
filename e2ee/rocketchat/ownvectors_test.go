package rocketchat_test

import (
	"testing"

	vectors "github.com/quinta-chat/quinta/testkit/vectors/rocketchat"
)

// TestOwnVectors runs the vectors of this package's forms.
func TestOwnVectors(t *testing.T) {
	t.Parallel()
	vectors.Suite.Run(t, "../../testkit/vectors/rocketchat", "content", "key-blob", "wrapped", "file")
}
