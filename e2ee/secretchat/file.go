package secretchat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/ige"
	"github.com/quinta-chat/quinta/internal/redact"
)

// Errors of files.
var (
	// ErrFileKey: the key is not the one whose fingerprint came with the file.
	ErrFileKey = errors.New("secretchat: the key does not belong to the file")
	// ErrFileSize: the file is shorter or longer than its message says.
	ErrFileSize = errors.New("secretchat: the file has the wrong size")
)

// FileKeySize is the length of a FileKey's bytes: key and initialization
// vector.
const FileKeySize = 64

// A FileKey opens one file.
type FileKey struct {
	redact.Manners
	box redact.Box[[FileKeySize]byte]
}

// NewFileKey draws a key for one file.
func NewFileKey(rand io.Reader) (*FileKey, error) {
	var b [FileKeySize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("secretchat: drawing a file key: %w", err)
	}
	return &FileKey{box: redact.Seal(&b)}, nil
}

// ParseFileKey takes key and iv as a message carries them, 32 bytes each.
func ParseFileKey(key, iv []byte) (*FileKey, error) {
	if len(key) != 32 || len(iv) != 32 {
		return nil, ErrKeySize
	}
	var b [FileKeySize]byte
	copy(b[:], key)
	copy(b[32:], iv)
	return &FileKey{box: redact.Seal(&b)}, nil
}

// Key is the AES key, for the message.
func (k *FileKey) Key() []byte { return append([]byte(nil), k.box.Open()[:32]...) }

// IV is the initialization vector, for the message.
func (k *FileKey) IV() []byte { return append([]byte(nil), k.box.Open()[32:]...) }

// Fingerprint is what travels outside of the message, beside the file.
// "Sending Encrypted Files".
func (k *FileKey) Fingerprint() int32 {
	h := md5.Sum(k.box.Open()[:])
	return int32(binary.LittleEndian.Uint32(h[:4]) ^ binary.LittleEndian.Uint32(h[4:8]))
}

// SealedFileSize is the length of a file of size bytes once it is sealed.
func SealedFileSize(size int64) int64 { return (size + 15) &^ 15 }

const filePiece = 64 << 10

// A fileReader gives a file sealed or opened, in pieces.
type fileReader struct {
	from  io.Reader
	b     cipher.Block
	chain ige.Chain
	turn  func(b cipher.Block, chain *ige.Chain, dst, src []byte)
	fill  func(short []byte) error // completes the last block
	buf   []byte
	ready []byte
	err   error
}

func (k *FileKey) reader(from io.Reader) (*fileReader, error) {
	b, err := aes.NewCipher(k.box.Open()[:32])
	if err != nil {
		return nil, err
	}
	return &fileReader{from: from, b: b, chain: ige.Chain(k.box.Open()[32:]), buf: make([]byte, filePiece)}, nil
}

// Read implements io.Reader.
func (r *fileReader) Read(p []byte) (int, error) {
	if len(r.ready) == 0 && r.err == nil {
		r.next()
	}
	if len(r.ready) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// next turns one more piece.
func (r *fileReader) next() {
	n, err := io.ReadFull(r.from, r.buf)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	r.err = err
	if err != nil && err != io.EOF {
		return
	}
	whole := (n + 15) &^ 15
	if whole > n {
		if err := r.fill(r.buf[n:whole]); err != nil {
			r.err = err
			return
		}
	}
	r.ready = r.buf[:whole]
	r.turn(r.b, &r.chain, r.ready, r.ready)
}

// Seal returns the sealed file, streamed; what completes its last block comes
// from rand.
func (k *FileKey) Seal(rand io.Reader, from io.Reader) (io.Reader, error) {
	r, err := k.reader(from)
	if err != nil {
		return nil, err
	}
	r.turn = ige.Encrypt
	r.fill = func(short []byte) error {
		_, err := io.ReadFull(rand, short)
		return err
	}
	return r, nil
}

// Open writes the opened file of size bytes to w. fingerprint is what came
// beside the file; nothing is written if it is not that of the key. The
// content is not authenticated: a server can garble it, but cannot forge it.
func (k *FileKey) Open(w io.Writer, sealed io.Reader, size int64, fingerprint int32) error {
	if fingerprint != k.Fingerprint() {
		return ErrFileKey
	}
	if size < 0 {
		return ErrFileSize
	}
	r, err := k.reader(sealed)
	if err != nil {
		return err
	}
	r.turn = ige.Decrypt
	r.fill = func([]byte) error { return ErrFileSize }
	if n, err := io.CopyN(w, r, size); err == io.EOF && n < size {
		return ErrFileSize
	} else if err != nil {
		return err
	}
	rest, err := io.Copy(io.Discard, r)
	if err != nil {
		return err
	}
	if size+rest != SealedFileSize(size) {
		return ErrFileSize
	}
	return nil
}
