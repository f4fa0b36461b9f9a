package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// A folder is a store of files, each in one of 256 folders after the first
// two digits of its key. A file gets its name only when its bytes are synced,
// and the put returns only when the name is.
type folder struct {
	dir    string
	faults func(op string) error

	mu sync.Mutex
	// durable are the folders whose own names are known to be synced.
	durable map[string]bool
}

var _ store = (*folder)(nil)

// incoming is the folder of files that have no name yet.
const incoming = "incoming"

func openFolder(dir string, faults func(op string) error) (*folder, error) {
	f := &folder{dir: filepath.Clean(dir), faults: faults, durable: map[string]bool{}}
	if err := os.MkdirAll(filepath.Join(f.dir, incoming), 0o700); err != nil {
		return nil, fmt.Errorf("the media store's folder cannot be created: %w", err)
	}
	for _, d := range []string{f.dir, filepath.Dir(f.dir)} {
		if err := f.syncDir(d); err != nil {
			return nil, fmt.Errorf("the media store's folder cannot be synced: %w", err)
		}
	}
	return f, nil
}

func (f *folder) temp(key string) string { return filepath.Join(f.dir, incoming, key) }
func (f *folder) path(key string) string { return filepath.Join(f.dir, key[:2], key) }

// fault asks a test whether the operation fails.
func (f *folder) fault(op string) error {
	if f.faults == nil {
		return nil
	}
	return f.faults(op)
}

func (f *folder) put(_ context.Context, key string, r io.Reader) error {
	if err := f.write(key, r); err != nil {
		return errors.Join(err, unlink(f.temp(key)))
	}
	if err := f.name(key); err != nil {
		return errors.Join(err, unlink(f.temp(key)), unlink(f.path(key)))
	}
	return nil
}

// write makes the file without its name, synced.
func (f *folder) write(key string, r io.Reader) error {
	if err := f.fault("create"); err != nil {
		return err
	}
	w, err := os.OpenFile(f.temp(key), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{faultyWriter{f, w}}, r, make([]byte, 64<<10))
	if err == nil {
		if err = f.fault("sync"); err == nil {
			err = w.Sync()
		}
	}
	return errors.Join(err, w.Close())
}

// name gives the file its name, durably.
func (f *folder) name(key string) error {
	dir := filepath.Dir(f.path(key))
	if err := f.makeDir(dir); err != nil {
		return err
	}
	if err := f.fault("rename"); err != nil {
		return err
	}
	if err := os.Rename(f.temp(key), f.path(key)); err != nil {
		return err
	}
	return f.syncDir(dir)
}

// makeDir makes one of the 256 folders. No caller continues before its own name is
// synced, also not who finds it made by another.
func (f *folder) makeDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.durable[dir] {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := f.syncDir(f.dir); err != nil {
		return err
	}
	f.durable[dir] = true
	return nil
}

func (f *folder) syncDir(dir string) error {
	if err := f.fault("sync-folder"); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *folder) open(_ context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r, err := os.Open(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoBytes
	}
	if err != nil {
		return nil, err
	}
	if _, err := r.Seek(off, io.SeekStart); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if n < 0 {
		return r, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, n), r}, nil
}

// remove syncs what it did: the key leaves the table of loose bytes after it,
// and a file that came back with a power cut would stay forever.
func (f *folder) remove(_ context.Context, key string) error {
	var errs []error
	for _, p := range []string{f.temp(key), f.path(key)} {
		switch err := os.Remove(p); {
		case err == nil:
			errs = append(errs, f.syncDir(filepath.Dir(p)))
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (f *folder) close() error { return nil }

// unlink removes a file if it is there.
func unlink(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// full reports whether an error says that no space is left.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// A faultyWriter lets a test fail a write.
type faultyWriter struct {
	f *folder
	w io.Writer
}

func (w faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.fault("write"); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
