package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A folderLock keeps other processes out of a data folder with an embedded
// store. The kernel lets go of it when the process ends, in whatever way.
type folderLock struct{ f *os.File }

// errInUse says that another process has the data folder.
var errInUse = errors.New("in use")

// lockFolder takes the lock of a data folder, which exists. It fails with
// errInUse in the chain if another process has it.
func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0) // only for the message; the file may be empty
		who := strings.TrimSpace(string(holder[:n]))
		err := fmt.Errorf("the data folder %s is %w by another quintad", dir, errInUse)
		if who != "" {
			err = fmt.Errorf("%w, process %s", err, who)
		}
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the data folder: %w", err), f.Close())
	}
	return &folderLock{f}, nil
}

// release lets go of the folder. The file stays: to remove it would let two
// processes lock two files of one name.
func (l *folderLock) release() error { return l.f.Close() }
