package matrixclient_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestEnsureIdentity makes an identity for an account whose only device asks,
// once, and for no account that has other devices with keys.
func TestEnsureIdentity(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice")
	first, err := client.EnsureIdentity(t.Context(), alice.s, password)
	if err != nil || !first.Exists || !first.SignsThis || !first.Complete {
		t.Fatalf("got %+v, %v, want an identity", first, err)
	}
	again, err := client.EnsureIdentity(t.Context(), alice.s, password)
	if err != nil || again != first {
		t.Errorf("got %+v, %v the second time, want %+v", again, err, first)
	}
	bob := meets(t, url, "bob")
	laptop := enters(t, url, "bob", matrixclient.Network{}, memory.New(), false)
	for _, p := range []*person{bob, laptop} {
		if id, err := client.EnsureIdentity(t.Context(), p.s, password); err != nil || id.Exists {
			t.Errorf("got %+v, %v with two devices, want none", id, err)
		}
	}
	if got := alice.trustOf(laptop.s.Self()); got != quinta.TrustPinned {
		t.Errorf("got trust %v in bob's laptop, want pinned", got)
	}
}
