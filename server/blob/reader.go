package blob

import (
	"context"
	"errors"
	"io"
)

// A Reader reads bytes of the media store from any place in them. A Seek
// costs nothing; the Read after it opens the bytes again if it must.
type Reader struct {
	ctx context.Context
	b   *Blobs
	w   Bytes
	off int64
	// open reads on from the place at.
	open io.ReadCloser
	at   int64
}

var _ io.ReadSeekCloser = (*Reader)(nil)

// Reader returns a reader of w. Close it.
func (b *Blobs) Reader(ctx context.Context, w Bytes) *Reader {
	return &Reader{ctx: ctx, b: b, w: w}
}

// Ready opens the bytes at the current place, so that an error shows before
// an answer has begun.
func (r *Reader) Ready() error {
	if r.open != nil && r.at == r.off {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	o, err := r.b.Open(r.ctx, r.w, r.off, -1)
	if err != nil {
		return err
	}
	r.open, r.at = o, r.off
	return nil
}

func (r *Reader) Read(p []byte) (int, error) {
	if r.off >= r.w.Size {
		return 0, io.EOF
	}
	if err := r.Ready(); err != nil {
		return 0, err
	}
	n, err := r.open.Read(p[:min(int64(len(p)), r.w.Size-r.off)])
	r.off += int64(n)
	r.at = r.off
	if err == io.EOF && r.off < r.w.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek sets the place of the next Read.
func (r *Reader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.off
	case io.SeekEnd:
		off += r.w.Size
	}
	if off < 0 {
		return 0, errors.New("blob: seek before the beginning")
	}
	r.off = off
	return off, nil
}

// Close ends the reading.
func (r *Reader) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}
