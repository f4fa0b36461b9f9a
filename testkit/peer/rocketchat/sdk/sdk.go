// Package sdk starts the official ddp-client and api-client of Rocket.Chat as a
// peer of a test. Their end-to-end encryption is on Node's WebCrypto, written for
// these tests.
//
// The npm packages have the exact versions of package-lock.json;
// testkit/peer/install.sh brings them.
package sdk

import (
	"os/exec"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/npm"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// Start starts a process that holds any number of clients and ends with the test.
func Start(tb testing.TB) *driver.Process {
	tb.Helper()
	dir, err := npm.Folder("@rocket.chat/ddp-client")
	require.Peer(tb, "@rocket.chat/ddp-client", err)
	node := require.Program(tb, "node")
	cmd := exec.Command(node, "--no-warnings", "driver.mjs")
	cmd.Dir = dir
	return driver.Start(tb, cmd)
}
