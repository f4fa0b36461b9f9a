package keysrv

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/key"
)

// A file is sealed in segments of 64 KiB under a key of its own, as in the
// STREAM construction: the nonce of a segment is its number in 11 bytes and one
// byte that is 1 for the last segment. So none can be dropped, repeated, moved
// or cut off unnoticed, and each can be opened alone.
const (
	// SegmentSize is the length of the plaintext of a segment in bytes; the
	// last segment may be shorter, and is empty only if the file is empty.
	SegmentSize = 64 << 10
	// SealedSegmentSize is the length of a segment with its tag.
	SealedSegmentSize = SegmentSize + tagSize
	// MaxFile bounds a file in bytes.
	MaxFile = 1 << 40
)

// SealedFileSize returns the length of a sealed file of n bytes.
func SealedFileSize(n int64) int64 {
	segments := max(1, (n+SegmentSize-1)/SegmentSize)
	return n + segments*tagSize
}

func segmentCipher(k key.AttachmentKey) (cipher.AEAD, error) {
	secret := k.Secret()
	defer clear(secret)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("keysrv: %w", err)
	}
	return cipher.NewGCM(block)
}

func segmentNonce(n uint64, last bool) []byte {
	nonce := make([]byte, nonceSize)
	binary.BigEndian.PutUint64(nonce[3:11], n)
	if last {
		nonce[11] = 1
	}
	return nonce
}

// A SegmentSealer reads a file and gives its sealed form, in constant memory. A
// key seals one file only.
type SegmentSealer struct {
	aead cipher.AEAD
	from io.Reader
	n    uint64
	next []byte // the plaintext that was read ahead
	more bool   // there may be more after next
	out  []byte // sealed but not handed out yet
	buf  []byte
	// spare is the buffer for what is read ahead next.
	spare []byte
	err   error
	size  int64 // of the plaintext that was sealed
}

// NewSegmentSealer returns the sealer of a file.
func NewSegmentSealer(k key.AttachmentKey, from io.Reader) (*SegmentSealer, error) {
	aead, err := segmentCipher(k)
	if err != nil {
		return nil, err
	}
	s := &SegmentSealer{aead: aead, from: from, buf: make([]byte, 0, SealedSegmentSize), spare: make([]byte, SegmentSize)}
	s.next, s.more, s.err = readSegment(from, make([]byte, SegmentSize))
	return s, nil
}

// readSegment fills buf; more is false at the end of the file.
func readSegment(from io.Reader, buf []byte) (b []byte, more bool, err error) {
	n, err := io.ReadFull(from, buf)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return buf[:n], false, nil
	case err != nil:
		return nil, false, err
	}
	return buf, true, nil
}

// Read returns the sealed file.
func (s *SegmentSealer) Read(p []byte) (int, error) {
	if len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		if err := s.seal(); err != nil {
			s.err = err
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// seal seals the segment that was read ahead.
func (s *SegmentSealer) seal() error {
	var ahead []byte
	more := false
	if s.more {
		var err error
		if ahead, more, err = readSegment(s.from, s.spare); err != nil {
			return err
		}
	}
	last := !s.more || len(ahead) == 0
	s.size += int64(len(s.next))
	if s.size > MaxFile {
		return fmt.Errorf("%w: the file is too large", ErrMalformed)
	}
	s.out = s.aead.Seal(s.buf[:0], segmentNonce(s.n, last), s.next, nil)
	s.n++
	s.spare, s.next, s.more = s.next[:SegmentSize], ahead, more
	if last {
		s.err = io.EOF
	}
	return nil
}

// Size returns how many bytes of plaintext were sealed.
func (s *SegmentSealer) Size() int64 { return s.size }

// A SegmentOpener opens a sealed file. Everything that Read returns is
// authentic; only at io.EOF is the file known to be complete.
type SegmentOpener struct {
	aead cipher.AEAD
	from io.Reader
	n    uint64
	next []byte
	more bool
	out  []byte
	// spare is the buffer for what is read ahead next; out is in the other.
	spare []byte
	err   error
}

// NewSegmentOpener returns the opener of a file that begins with segment first;
// 0 is the whole file. A reader for a later one begins at byte
// first*SealedSegmentSize of the sealed file.
func NewSegmentOpener(k key.AttachmentKey, from io.Reader, first uint64) (*SegmentOpener, error) {
	aead, err := segmentCipher(k)
	if err != nil {
		return nil, err
	}
	o := &SegmentOpener{aead: aead, from: from, n: first, spare: make([]byte, SealedSegmentSize)}
	o.next, o.more, o.err = readSegment(from, make([]byte, SealedSegmentSize))
	return o, nil
}

// Read returns the plaintext. Any change of the sealed file gives ErrTampered.
func (o *SegmentOpener) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		if err := o.open(); err != nil {
			o.err = err
			return 0, err
		}
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

func (o *SegmentOpener) open() error {
	var ahead []byte
	more := false
	if o.more {
		var err error
		if ahead, more, err = readSegment(o.from, o.spare); err != nil {
			return err
		}
	}
	last := !o.more || len(ahead) == 0
	if len(o.next) < tagSize || len(o.next) == tagSize && (o.n > 0 || !last) {
		return fmt.Errorf("%w: the file is cut off", ErrTampered)
	}
	out, err := o.aead.Open(o.next[:0], segmentNonce(o.n, last), o.next, nil)
	if err != nil {
		return fmt.Errorf("%w: a segment of a file", ErrTampered)
	}
	o.out = out
	o.n++
	o.spare, o.next, o.more = o.next[:SealedSegmentSize], ahead, more
	if last {
		o.err = io.EOF
	}
	return nil
}
