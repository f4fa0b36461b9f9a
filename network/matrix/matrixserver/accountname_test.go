package matrixserver_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

// TestNameThatIsTooLongForTheServer: a user id has at most 255 bytes.
func TestNameThatIsTooLongForTheServer(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t, quintatest.Configure(func(c *server.Config) { c.Name = strings.Repeat("a", 190) })).Core
	for length, excluded := range map[int]bool{63: false, 64: true} {
		out := core.Exclusions(account.Name(strings.Repeat("b", length)))
		if got := slices.ContainsFunc(out, func(e server.Exclusion) bool { return e.Network == "matrix" }); got != excluded {
			t.Errorf("a user id of %d bytes: excluded: got %v, want %v", length+192, got, excluded)
		}
	}
}
