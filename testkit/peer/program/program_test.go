package program_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

func TestRoot(t *testing.T) {
	t.Parallel()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !strings.HasPrefix(string(mod), "module github.com/quinta-chat/quinta\n") {
		t.Errorf("got %q, %v at %s, want the module's go.mod", mod, err, root)
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	path, err := program.Build("testkit/peer/program/testdata/hello", ".", "hello")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path).Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("got %q, %v, want hello", out, err)
	}
	if _, err := program.Build("testkit/peer/program", "./nothing", "nothing"); err == nil {
		t.Error("got no error for a package that is not there")
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Error("the program is gone while its test runs")
	}
}
