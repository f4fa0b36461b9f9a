// Package mautrix starts mautrix-go with its pure-Go crypto (build tag goolm)
// as a peer of a test: a client stack that shares no code with matrix-js-sdk.
// [Start] gives a process that holds any number of clients; package driver
// has their methods. The folder mautrixpeer is a module of its own.
package mautrix

import (
	"os/exec"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// build builds the peer once per test binary and returns its path.
var build = sync.OnceValues(func() (string, error) {
	return program.Build("testkit/peer/matrix/mautrix/mautrixpeer", ".", "mautrixpeer", "-tags", "goolm")
})

// Start starts a process of mautrix clients that ends with the test.
func Start(tb testing.TB) *driver.Process {
	tb.Helper()
	path, err := build()
	require.Peer(tb, "mautrix-go", err)
	return driver.Start(tb, exec.Command(path))
}
