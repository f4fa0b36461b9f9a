// Package program builds Go programs for tests that run them as processes.
package program

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

// remove removes the folder of a built program when the test binary has
// ended.
const remove = `read -r _
rm -rf "$1"
`

// module is the path of this module.
const module = "github.com/quinta-chat/quinta"

// Root returns the folder of this module: the nearest one above the working
// directory whose go.mod names it. A program that was built with -trimpath does
// not know where its sources are.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if bytes.HasPrefix(mod, []byte("module "+module+"\n")) {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("the working directory is not in the module " + module)
		}
		dir = above
	}
}

// Folder returns the folder of a source file of this module, given as
// runtime.Caller returns it. With -trimpath, that is the path of its package.
func Folder(file string) (string, error) {
	rest, trimmed := strings.CutPrefix(file, module+"/")
	if !trimmed {
		return filepath.Dir(file), nil
	}
	root, err := Root()
	return filepath.Join(root, filepath.FromSlash(path.Dir(rest))), err
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
	program := filepath.Join(out, name)
	cmd := exec.Command("go", append(append([]string{"build", "-o", program}, args...), pkg)...)
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, bytes.TrimSpace(said))
	}
	return program, nil
}
