package program_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

func TestFolder(t *testing.T) {
	t.Parallel()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(root, "testkit", "peer", "program")
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the caller is not known")
	}
	for _, file := range []string{here, "github.com/quinta-chat/quinta/testkit/peer/program/program.go", filepath.Join(want, "program.go")} {
		if got, err := program.Folder(file); got != want || err != nil {
			t.Errorf("got %q, %v for %s, want %s", got, err, file, want)
		}
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
