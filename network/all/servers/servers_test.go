package servers_test

import (
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/all/clients"
	"github.com/quinta-chat/quinta/network/all/servers"
)

// TestListsAreEqual: both lists have the same networks in the same order, and
// none twice.
func TestListsAreEqual(t *testing.T) {
	t.Parallel()
	var s, c []quinta.NetworkName
	for _, n := range servers.All() {
		s = append(s, n.Name)
	}
	for _, n := range clients.All() {
		c = append(c, n.Name())
	}
	if !slices.Equal(s, c) {
		t.Errorf("got the servers %q and the clients %q", s, c)
	}
	slices.Sort(s)
	if len(s) == 0 || len(slices.Compact(s)) != len(c) {
		t.Errorf("got %q, want every network once", s)
	}
}
