package matrixclient_test

import (
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
)

// TestPolicies: the name sets the field that it stands for.
func TestPolicies(t *testing.T) {
	t.Parallel()
	if n, err := client.Under(matrixclient.Network{}, client.VerifiedOnly); err != nil || n != (matrixclient.Network{VerifiedOnly: true}) {
		t.Errorf("got %+v, %v", n, err)
	}
}
