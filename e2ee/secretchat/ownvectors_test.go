package secretchat_test

import (
	"testing"

	vectors "github.com/quinta-chat/quinta/testkit/vectors/secretchat"
)

// TestOwnVectors runs the vectors of this package's forms.
func TestOwnVectors(t *testing.T) {
	t.Parallel()
	vectors.Suite.Run(t, "../../testkit/vectors/secretchat", "packet", "layer", "public", "group", "file")
}
