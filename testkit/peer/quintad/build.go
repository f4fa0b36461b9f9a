package quintad

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

// remove removes the folder of the built program when the test binary has
// ended.
const remove = `read -r _
rm -rf "$1"
`

// build builds quintad once per test binary and returns its path.
var build = sync.OnceValues(func() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the folder of the module is not known")
	}
	dir, err := os.MkdirTemp("", "quintad-")
	if err != nil {
		return "", err
	}
	if _, err := keeper.Start(nil, nil, remove, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	program := filepath.Join(dir, "quintad")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/quintad")
	cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building quintad: %w\n%s", err, bytes.TrimSpace(out))
	}
	return program, nil
})
