package attachment

import (
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// A Reader reads the plaintext of a file whose hash was checked.
type Reader struct {
	src    *io.SectionReader
	stream cipher.Stream
	hash   hash.Hash
	want   [hashSize]byte
	err    error
}

// Open checks the ciphertext, the first size bytes of src, against the hash
// in f and returns a reader of the plaintext. If the hash does not match, it
// returns ErrHash and no reader.
//
// The ciphertext is read twice, so src must be the caller's own: memory, or a
// file that no one else writes. The second reading is hashed as well; if src
// has changed in between, Read ends with ErrHash in place of io.EOF, and
// everything that it returned must be discarded.
func Open(f *File, src io.ReaderAt, size int64) (*Reader, error) {
	if size < 0 {
		return nil, errors.New("attachment: negative size")
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, onlyReader{io.NewSectionReader(src, 0, size)}, make([]byte, chunk))
	if err != nil {
		return nil, fmt.Errorf("attachment: reading the file: %w", err)
	}
	if n != size {
		return nil, ErrHash
	}
	return f.reader(h, src, size)
}

// onlyReader hides other methods, which would bring buffers of other sizes.
type onlyReader struct{ io.Reader }

// Storage keeps ciphertext while it is checked, as an *os.File can.
type Storage interface {
	io.Writer
	io.ReaderAt
}

// Receive copies the ciphertext from src to store, which must be empty,
// checks it against the hash in f, and returns a reader of the plaintext. If
// src has more than limit bytes it returns ErrTooLarge, and ErrHash if the
// hash does not match; then there is no reader, and store may be discarded.
// The requirements of Open on its src apply to store.
func Receive(f *File, src io.Reader, limit int64, store Storage) (*Reader, error) {
	h := sha256.New()
	buf := make([]byte, chunk)
	size := int64(0)
	for {
		n, err := src.Read(buf)
		if size += int64(n); size > limit {
			return nil, ErrTooLarge
		}
		h.Write(buf[:n])
		if m, werr := store.Write(buf[:n]); werr != nil {
			return nil, fmt.Errorf("attachment: storing the file: %w", werr)
		} else if m < n {
			return nil, fmt.Errorf("attachment: storing the file: %w", io.ErrShortWrite)
		}
		if err == io.EOF {
			return f.reader(h, store, size)
		}
		if err != nil {
			return nil, fmt.Errorf("attachment: receiving the file: %w", err)
		}
	}
}

// reader returns the reader of the plaintext if h, the hash of the whole
// ciphertext, is right.
func (f *File) reader(h hash.Hash, src io.ReaderAt, size int64) (*Reader, error) {
	if subtle.ConstantTimeCompare(h.Sum(nil), f.hash[:]) != 1 {
		return nil, ErrHash
	}
	// The counter is 64 bits wide for some implementations and 128 for others.
	// They agree as long as it does not run over, which no writer lets happen.
	if first := binary.BigEndian.Uint64(f.iv[8:]); first > math.MaxUint64-uint64(size)/16-1 {
		return nil, fmt.Errorf("%w: the counter overflows", ErrFormat)
	}
	h.Reset()
	return &Reader{src: io.NewSectionReader(src, 0, size), stream: f.stream(), hash: h, want: f.hash}, nil
}

// Read reads plaintext.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	for b := p[:n]; len(b) > 0; {
		m := min(chunk, len(b))
		r.hash.Write(b[:m])
		r.stream.XORKeyStream(b[:m], b[:m])
		b = b[m:]
	}
	if err == io.EOF && subtle.ConstantTimeCompare(r.hash.Sum(nil), r.want[:]) != 1 {
		err = ErrHash
	}
	r.err = err
	return n, err
}

// Size returns the length of the plaintext in bytes.
func (r *Reader) Size() int64 { return r.src.Size() }
