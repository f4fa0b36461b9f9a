package durable_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

// TestSyncReachesTheDisk: a file system that cannot sync a folder says so, and
// a Sync that did nothing would not hear it.
func TestSyncReachesTheDisk(t *testing.T) {
	if err := durable.Sync("/proc"); err == nil {
		t.Error("a folder that cannot be synced was reported as synced")
	}
	if err := durable.Sync(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// TestNamesAreSynced: with no file descriptor left, a rename and a mkdir still
// succeed, but the folder cannot be opened to be synced. A function that
// reports success then has not synced it.
func TestNamesAreSynced(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	rename := durable.Rename(from, filepath.Join(dir, "to"))
	mkdir := durable.MkdirAll(filepath.Join(dir, "new"))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"to": rename, "new": mkdir} {
		if err == nil {
			t.Errorf("%s was reported as durable, and its folder was not synced", what)
		}
		if _, err := os.Stat(filepath.Join(dir, what)); err != nil {
			t.Errorf("the test shows nothing: %v", err)
		}
	}
}
