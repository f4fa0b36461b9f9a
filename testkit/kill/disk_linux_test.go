package kill_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/quinta-chat/quinta/testkit/kill"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// room is how much a file may still grow when the disk is made full.
const room = 64 << 10

// TestDiskFull takes the space for files away under load and gives it back,
// then kills the server: while there is none, clients get errors, and no write
// is half done.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := quintad.Start(t, quintad.Config{})
	l := kill.Start(t, s.URL())
	for range 3 {
		l.Await(50)
		before := l.Refused()
		fileSize(t, s, uint64(largest(t, s.Config().Data)+room))
		l.AwaitRefusals(10)
		fileSize(t, s, unix.RLIM_INFINITY)
		l.Await(50)
		t.Logf("%d answers were errors", l.Refused()-before)
	}
	s.Kill9()
	s.Restart()
	l.Await(50)
	l.Stop()
	l.Check()
}

// fileSize sets the greatest size of a file that the server may write; a write
// beyond it fails as on a full disk. The hard limit stays, so that it can be
// raised again.
func fileSize(t *testing.T, s *quintad.Server, size uint64) {
	t.Helper()
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}, nil); err != nil {
		t.Fatal(err)
	}
}

// largest returns the size of the largest file in a folder.
func largest(t *testing.T, dir string) int64 {
	t.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size = max(size, info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
