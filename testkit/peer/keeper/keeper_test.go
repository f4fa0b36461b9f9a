package keeper_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

const remove = `read -r _
rm -rf "$1"
`

func TestRelease(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := keeper.Start(nil, nil, remove, dir)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-k.Gone():
		t.Fatal("the keeper ended before it was released")
	default:
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("got %v before the release, want the folder", err)
	}
	if err := k.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v after the release, want no folder", err)
	}
}

// TestKilledProcess runs this test binary again as a process that starts a
// keeper and is killed.
func TestKilledProcess(t *testing.T) {
	const child = "QUINTA_KEEPER_TEST_CHILD"
	if dir := os.Getenv(child); dir != "" {
		if _, err := keeper.Start(nil, nil, remove, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString("started\n"); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // until killed
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), child+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) {
		t.Fatalf("got %v, want a killed process", err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the folder is still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
