// Package jssdk starts matrix-js-sdk with its Rust crypto, as Element Web
// uses it, as a peer of a test. [Start] gives a process that holds any number
// of clients; package driver has their methods.
//
// The SDK, its crypto and the Node that runs them are npm packages at the
// exact versions of package-lock.json; testkit/peer/install.sh brings them.
package jssdk

import (
	"os/exec"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/npm"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// Start starts a process of matrix-js-sdk clients that ends with the test.
func Start(tb testing.TB) *driver.Process {
	tb.Helper()
	dir, err := npm.Folder("matrix-js-sdk")
	require.Peer(tb, "matrix-js-sdk", err)
	node, err := npm.Node(dir)
	require.Peer(tb, "matrix-js-sdk", err)
	cmd := exec.Command(node, "driver.mjs")
	cmd.Dir = dir
	return driver.Start(tb, cmd)
}
