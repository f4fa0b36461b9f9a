package caclient_test

import (
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/network/ca/caclient"
)

// TestPolicies: each name sets the field of the policy that it stands for.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]ca.Policy{
		client.VerifiedOnly: {VerifiedOnly: true}, "rsa": {RSA: true}, "sessions": {Sessions: true}, "no-resealing": {Resealing: ca.ResealNever},
	} {
		if n, err := client.Under(caclient.Network{}, name); err != nil || n != (caclient.Network{Policy: want}) {
			t.Errorf("%s: got %+v, %v", name, n, err)
		}
	}
	if all := client.PoliciesOf(caclient.Network{}); len(all) != 4 {
		t.Errorf("got %+v: a policy has no test", all)
	}
}
