package client

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
)

// A Governed is a Network with policies: decisions that its user makes
// beforehand. Without policies, it behaves as is best for most people.
//
// A session is under the policies of the network that opened it, for as long as
// it is open. To change them, close it and open the store again with other
// policies; see [Under]. The caller has to remember them.
type Governed interface {
	Network
	// Policies lists the policies of the network.
	Policies() []Policy
}

// A Policy is one such decision.
type Policy struct {
	// Name is in lower case, with "-" between words. Policies that mean the
	// same on several networks have the same name.
	Name string
	// Help says in one line what the policy does.
	Help string
	// Under is the network under this policy and those that it is under
	// already.
	Under Network
}

// VerifiedOnly is the name of the policy that gives messages only to devices
// that the user has verified, and VerifiedOnlyHelp its help.
const (
	VerifiedOnly     = "verified-only"
	VerifiedOnlyHelp = "give messages only to devices that you have verified"
)

// PoliciesOf lists the policies of a network, if it has any.
func PoliciesOf(n Network) []Policy {
	if g, ok := n.(Governed); ok {
		return g.Policies()
	}
	return nil
}

// Under returns the network under the policies of these names. A name that the
// network does not have is an error of KindInvalid: a policy is never ignored.
func Under(n Network, names ...string) (Network, error) {
	for _, name := range names {
		all := PoliciesOf(n)
		i := slices.IndexFunc(all, func(p Policy) bool { return p.Name == name })
		if i < 0 {
			return nil, quinta.E(quinta.KindInvalid, "choosing a policy", unknownPolicy(n.Name(), name, all))
		}
		n = all[i].Under
	}
	return n, nil
}

func unknownPolicy(network quinta.NetworkName, name string, all []Policy) string {
	if len(all) == 0 {
		return fmt.Sprintf("the network %s has no policies", network)
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return fmt.Sprintf("the network %s has no policy %.40q; its policies are: %s", network, name, strings.Join(names, ", "))
}
