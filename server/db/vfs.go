package db

import (
	"strconv"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3/vfs"
)

// A watchedVFS is the operating system's file system with the syncs counted
// and, in tests, faults put in. Each store registers its own.
type watchedVFS struct {
	vfs.VFSFilename
	syncs  *atomic.Int64
	faults func(op string) error
}

var vfsCount atomic.Int64

// registerVFS registers a file system for d and returns its name.
func registerVFS(d *DB) string {
	name := "quinta" + strconv.FormatInt(vfsCount.Add(1), 10)
	base, ok := vfs.Find("").(vfs.VFSFilename)
	if !ok {
		panic("db: internal error: the default file system has no OpenFilename")
	}
	vfs.Register(name, &watchedVFS{VFSFilename: base, syncs: &d.syncs, faults: d.cfg.Faults})
	return name
}

func (v *watchedVFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, fl, err := v.VFSFilename.Open(name, flags)
	return v.watch(f, err), fl, err
}

func (v *watchedVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, fl, err := v.VFSFilename.OpenFilename(name, flags)
	return v.watch(f, err), fl, err
}

func (v *watchedVFS) watch(f vfs.File, err error) vfs.File {
	if err != nil || f == nil {
		return f
	}
	w := watchedFile{File: f, v: v}
	if s, ok := f.(vfs.FileSharedMemory); ok {
		return &watchedShm{watchedFile: w, shm: s}
	}
	return &w
}

type watchedFile struct {
	vfs.File
	v *watchedVFS
}

// Unwrap gives SQLite the optional abilities of the file below.
func (f *watchedFile) Unwrap() vfs.File { return f.File }

func (f *watchedFile) Sync(flags vfs.SyncFlag) error {
	if f.v.faults != nil {
		if err := f.v.faults("sync"); err != nil {
			return err
		}
	}
	f.v.syncs.Add(1)
	return f.File.Sync(flags)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.v.faults != nil {
		if err := f.v.faults("write"); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, off)
}

type watchedShm struct {
	watchedFile
	shm vfs.FileSharedMemory
}

func (f *watchedShm) SharedMemory() vfs.SharedMemory { return f.shm.SharedMemory() }
