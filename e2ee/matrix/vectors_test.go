package matrix_test

import (
	"testing"

	vectors "github.com/quinta-chat/quinta/testkit/vectors/matrix"
)

// TestVectors runs the vectors of events in rooms and of device lists.
func TestVectors(t *testing.T) {
	t.Parallel()
	vectors.Suite.Run(t, "../../testkit/vectors/matrix", "room-event", "device-list")
}
