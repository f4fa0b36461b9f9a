package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/all/clients"
)

var policyCommand = &command{
	Name:  "policy",
	Args:  "[NAME ...] [--none]",
	Short: "show or change the policies of this device",
	Long: `Shows the policies that this device is under, and those that its network offers.
With names, puts the device under these policies and no others; with --none,
under none. No other quinta process may use the device at the same time. The
change applies to everything that is sent afterwards; a policy about keys
applies from the next key onwards.

Example: quinta policy verified-only

  --none   put the device under no policy

The policies are:
` + policyText(),
	Most: -1,
	Prepare: func(fs *flag.FlagSet) run {
		none := fs.Bool("none", false, "")
		return func(ctx context.Context, a *app, args []string) error {
			return a.policy(args, *none)
		}
	},
}

// policy shows the policies of the chosen account, or changes them.
func (a *app) policy(names []string, none bool) error {
	if none && len(names) > 0 {
		return misused("give names or --none, but not both")
	}
	ac, err := a.chosen()
	if err != nil {
		return err
	}
	if none || len(names) > 0 {
		if err := a.setPolicies(ac, names); err != nil {
			return err
		}
	}
	n, err := networkNamed(ac.Network)
	if err != nil {
		return err
	}
	line := policyLine{head: newHead("policies"), Account: ac.User, Policies: append([]string{}, ac.Policies...), Available: []string{}}
	for _, p := range client.PoliciesOf(n) {
		line.Available = append(line.Available, p.Name)
	}
	if a.opt.json {
		a.emit(line)
		return nil
	}
	a.say("policies: %s; the network %s has: %s", listed(line.Policies), ac.Network, listed(line.Available))
	return nil
}

// policyLine is what the JSON output says about policies.
type policyLine struct {
	head
	Account   quinta.UserID `json:"account"`
	Policies  []string      `json:"policies"`
	Available []string      `json:"available"`
}

// listed writes names for people.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return oneLine(strings.Join(names, ", "))
}

// setPolicies puts an account under policies, in place of those that it is
// under. Its store is locked meanwhile, so that no session continues under the old ones.
func (a *app) setPolicies(ac *account, names []string) error {
	var chosen policyFlag
	for _, name := range names {
		if err := chosen.Set(name); err != nil {
			return err
		}
	}
	if _, err := networkUnder(ac.Network, chosen); err != nil {
		return err
	}
	st, err := a.openStore(ac)
	if err != nil {
		return err
	}
	ac.Policies = chosen
	return errors.Join(ac.save(ac.dir), st.Close())
}

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
	return client.Finding{Name: "policies", OK: true, Text: listed(ac.Policies)}, true
}
