// Package program builds Go programs for tests that run them as processes.
package program

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

// remove removes the folder of a built program when the test binary has
// ended.
const remove = `read -r _
rm -rf "$1"
`

// Root returns the folder of this module.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the folder of the module is not known")
	}
	return filepath.Abs(filepath.Join(filepath.Dir(file), "..", "..", ".."))
}

// Own builds the program of this module with a name, quinta or quintad, as make
// build does: stripped, and without what gRPC needs for its traces. Args go to
// "go build" as well.
func Own(name string, args ...string) (string, error) {
	return Build(".", "./cmd/"+name, name, append([]string{"-tags=grpcnotrace", "-ldflags=-s -w"}, args...)...)
}

// Build builds the main package pkg, seen from the folder dir below the root
// of this module, without cgo, and returns the path of the program, which is
// removed when this process ends. Args go to "go build". Callers keep the
// result: a test binary needs one build.
func Build(dir, pkg, name string, args ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return "", err
	}
	if _, err := keeper.Start(nil, nil, remove, out); err != nil {
		return "", errors.Join(err, os.RemoveAll(out))
	}
	path := filepath.Join(out, name)
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, args...), pkg)...)
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, bytes.TrimSpace(said))
	}
	return path, nil
}
