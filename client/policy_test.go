package client_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/all/clients"
)

// TestPolicies: the policies of every network have a name and a help of one
// line, each changes the network, they can be combined in any order, and a name
// that is not there is refused.
func TestPolicies(t *testing.T) {
	t.Parallel()
	governed := 0
	for _, n := range clients.All() {
		all := client.PoliciesOf(n)
		var names []string
		for _, p := range all {
			if p.Name == "" || p.Name != strings.ToLower(p.Name) || strings.ContainsAny(p.Name, " \n") || slices.Contains(names, p.Name) ||
				p.Help == "" || len(p.Help) > 57 || strings.ContainsAny(p.Help, "\n") || strings.HasSuffix(p.Help, ".") {
				t.Errorf("%s: got the policy %q: %q", n.Name(), p.Name, p.Help)
			}
			if reflect.DeepEqual(p.Under, n) || p.Under.Name() != n.Name() {
				t.Errorf("%s: the policy %s changes nothing", n.Name(), p.Name)
			}
			names = append(names, p.Name)
		}
		if len(names) > 0 {
			governed++
		}
		one, err := client.Under(n, names...)
		if err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
		slices.Reverse(names)
		if other, err := client.Under(n, names...); err != nil || !reflect.DeepEqual(other, one) || len(names) > 0 && reflect.DeepEqual(other, n) {
			t.Errorf("%s: got %+v and %+v, %v", n.Name(), one, other, err)
		}
		if got, err := client.Under(n, "no-such-policy"); quinta.KindOf(err) != quinta.KindInvalid || got != nil {
			t.Errorf("%s: got %v, %v for a policy that is not there", n.Name(), got, err)
		}
	}
	if governed < 2 {
		t.Errorf("got %d networks with policies", governed)
	}
}
