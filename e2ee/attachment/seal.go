package attachment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// chunk is how much is worked on at once: it stays in the processor's cache
// between the cipher and the hash.
const chunk = 32 << 10

// A sealer encrypts and hashes a stream in place.
type sealer struct {
	file   *File
	stream cipher.Stream
	hash   hash.Hash
	done   bool
}

// newSealer makes the key and the counter block from rand: eight random
// bytes and a counter that begins at zero.
func newSealer(rand io.Reader) (*sealer, error) {
	f := new(File)
	var random [keySize + ivSize/2]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return nil, fmt.Errorf("attachment: making a key: %w", err)
	}
	copy(f.key[:], random[:keySize])
	copy(f.iv[:], random[keySize:])
	clear(random[:])
	return &sealer{file: f, stream: f.stream(), hash: sha256.New()}, nil
}

func (f *File) stream() cipher.Stream {
	block, err := aes.NewCipher(f.key[:])
	if err != nil {
		panic("attachment: internal error: " + err.Error())
	}
	return cipher.NewCTR(block, f.iv[:])
}

// seal encrypts src to dst, which may be the same memory.
func (s *sealer) seal(dst, src []byte) {
	for len(src) > 0 {
		n := min(chunk, len(src))
		s.stream.XORKeyStream(dst[:n], src[:n])
		s.hash.Write(dst[:n])
		dst, src = dst[n:], src[n:]
	}
}

func (s *sealer) finish() {
	s.hash.Sum(s.file.hash[:0])
	s.done = true
}

// describe returns the description of the finished file at url.
func (s *sealer) describe(url string) (*File, error) {
	if !s.done {
		return nil, ErrUnfinished
	}
	f := &File{URL: url, key: s.file.key, iv: s.file.iv, hash: s.file.hash}
	return f, nil
}

// A SealReader reads the ciphertext of another reader's content.
type SealReader struct {
	s   *sealer
	src io.Reader
	err error
}

// NewSealReader returns a reader of the ciphertext of plaintext, under a new
// key made of 40 bytes from rand. If an upload fails, begin again with a new
// SealReader, and so with another key.
func NewSealReader(rand, plaintext io.Reader) (*SealReader, error) {
	s, err := newSealer(rand)
	if err != nil {
		return nil, err
	}
	return &SealReader{s: s, src: plaintext}, nil
}

// Read reads ciphertext, as many bytes as the plaintext has.
func (r *SealReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	r.s.seal(p[:n], p[:n])
	if r.err = err; err == io.EOF {
		r.s.finish()
	}
	return n, err
}

// File returns the description of the file, which was stored at url. Before
// Read has returned io.EOF, the error is ErrUnfinished.
func (r *SealReader) File(url string) (*File, error) { return r.s.describe(url) }

// A SealWriter writes the ciphertext of what is written to it.
type SealWriter struct {
	s   *sealer
	dst io.Writer
	buf []byte
	err error
}

// NewSealWriter returns a writer that writes the ciphertext of its input to
// dst, under a new key made of 40 bytes from rand.
func NewSealWriter(rand io.Reader, dst io.Writer) (*SealWriter, error) {
	s, err := newSealer(rand)
	if err != nil {
		return nil, err
	}
	return &SealWriter{s: s, dst: dst, buf: make([]byte, chunk)}, nil
}

// Write encrypts p and writes it on. After an error of the underlying writer,
// every Write fails with it, because the key stream has advanced.
func (w *SealWriter) Write(p []byte) (int, error) {
	if w.err == nil && w.s.done {
		w.err = fmt.Errorf("attachment: write after close: %w", io.ErrClosedPipe)
	}
	total := 0
	for len(p) > 0 && w.err == nil {
		n := min(len(w.buf), len(p))
		w.s.seal(w.buf[:n], p[:n])
		var m int
		if m, w.err = w.dst.Write(w.buf[:n]); w.err == nil && m < n {
			w.err = io.ErrShortWrite
		}
		total += m
		p = p[n:]
	}
	return total, w.err
}

// Close ends the file. It does not close the underlying writer.
func (w *SealWriter) Close() error {
	if w.err == nil && !w.s.done {
		w.s.finish()
	}
	return w.err
}

// File returns the description of the file, which was stored at url. Before
// Close has returned without an error, the error is ErrUnfinished.
func (w *SealWriter) File(url string) (*File, error) { return w.s.describe(url) }
