// Package sdk starts the official ddp-client and api-client of Rocket.Chat as a
// peer of a test. Their end-to-end encryption is on Node's WebCrypto, written for
// these tests.
//
// The npm packages have the exact versions of package-lock.json;
// testkit/peer/install.sh brings them.
package sdk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// Start starts a process that holds any number of clients and ends with the test.
func Start(tb testing.TB) *driver.Process {
	tb.Helper()
	dir, err := folder()
	require.Peer(tb, "@rocket.chat/ddp-client", err)
	node := require.Program(tb, "node")
	cmd := exec.Command(node, "--no-warnings", "driver.mjs")
	cmd.Dir = dir
	return driver.Start(tb, cmd)
}

// folder returns the folder of the driver if the clients are installed in it.
func folder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the folder of the driver is not known")
	}
	dir := filepath.Dir(file)
	_, err := os.Stat(filepath.Join(dir, "node_modules", "@rocket.chat", "ddp-client", "package.json"))
	return dir, err
}
