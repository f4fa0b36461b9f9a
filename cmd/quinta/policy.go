package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/all/clients"
)

// A policyFlag collects the names of policies, each once.
type policyFlag []string

// String returns the names.
func (f *policyFlag) String() string { return strings.Join(*f, ",") }

// Set adds one name.
func (f *policyFlag) Set(name string) error {
	if !slices.Contains(*f, name) {
		*f = append(*f, name)
	}
	return nil
}

// policyText lists the policies of all networks, for the help.
func policyText() string {
	var b strings.Builder
	type line struct{ name, help string }
	var order []line
	where := map[line][]string{}
	for _, n := range clients.All() {
		for _, p := range client.PoliciesOf(n) {
			l := line{p.Name, p.Help}
			if where[l] == nil {
				order = append(order, l)
			}
			where[l] = append(where[l], string(n.Name()))
		}
	}
	for _, l := range order {
		fmt.Fprintf(&b, "    %-17s  %s\n%23s(%s)\n", l.name, l.help, "", strings.Join(where[l], ", "))
	}
	return b.String()
}

// policyFinding says which policies an account is under; has is false if its
// network has none.
func policyFinding(ac *account) (f client.Finding, has bool) {
	n, err := networkNamed(ac.Network)
	if err != nil || len(client.PoliciesOf(n)) == 0 {
		return f, false
	}
	text := "none"
	if len(ac.Policies) > 0 {
		text = strings.Join(ac.Policies, ", ")
	}
	return client.Finding{Name: "policies", OK: true, Text: text}, true
}
