package dial

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// StallWithin is how long the transfer of a file may stall.
	StallWithin = time.Minute
	// MaxFile bounds a file that is fetched or spooled, in bytes.
	MaxFile = 4 << 30
)

// A Watch ends a transfer that stalls.
type Watch struct {
	timer *time.Timer
	end   context.CancelCauseFunc
}

// NewWatch returns a context that ends with ErrStalled if nothing moves for
// StallWithin, and the watch, which the caller stops.
func NewWatch(ctx context.Context) (context.Context, *Watch) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, &Watch{time.AfterFunc(StallWithin, func() { end(ErrStalled) }), end}
}

// Rest stops watching; the context continues.
func (w *Watch) Rest() { w.timer.Stop() }

// Stop stops watching and ends the context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.end(nil)
}

// Reader returns r with its progress observed by the watch.
func (w *Watch) Reader(r io.Reader) io.Reader { return watched{r, w} }

type watched struct {
	io.Reader
	w *Watch
}

func (r watched) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.w.timer.Reset(StallWithin)
	}
	return n, err
}

// An UploadBody is the body of an upload. A transport may still read it after
// an answer has arrived; Wait returns when it no longer does.
type UploadBody struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

// NewUploadBody returns r as the body of a request.
func NewUploadBody(r io.Reader) *UploadBody {
	return &UploadBody{Reader: r, closed: make(chan struct{})}
}

// Close says that the body is no longer read.
func (b *UploadBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// Wait returns after Close.
func (b *UploadBody) Wait() { <-b.closed }

// Spool copies r to a temporary file and returns it at its beginning, with its
// length. More than MaxFile bytes are ErrLarge. It is for sealed files only:
// the file is written to the disk as it is.
func Spool(r io.Reader) (*os.File, int64, error) {
	f, err := TempFile()
	if err != nil {
		return nil, 0, err
	}
	n, err := io.Copy(f, io.LimitReader(r, MaxFile+1))
	if err == nil && n > MaxFile {
		err = ErrLarge
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		Discard(f)
		return nil, 0, err
	}
	return f, n, nil
}

// TempFile makes a temporary file; Discard removes it.
func TempFile() (*os.File, error) { return os.CreateTemp("", "quinta-file-") }

// Discard removes a temporary file; it holds nothing that the server does not.
func Discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}
