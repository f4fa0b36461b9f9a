package rocketchat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/redact"
)

const (
	fileKeySize = 32
	fileIVSize  = aes.BlockSize
	fileChunk   = 32 << 10
	algFile     = "A256CTR"
)

// A FileKey opens one file: AES-256-CTR with a counter of 64 bits, and the
// SHA-256 of the plaintext. The cipher authenticates nothing, so only the hash
// says that a file is what was sealed.
type FileKey struct {
	redact.Manners
	secret redact.Box[fileSecret]
}

type fileSecret struct {
	key [fileKeySize]byte
	iv  [fileIVSize]byte
	sum [sha256.Size]byte
}

// IsZero reports whether k is not a key.
func (k FileKey) IsZero() bool { return k.secret == nil }

// ParseFileKey reads the members "encryption" (a JSON object with key and iv)
// and "hashes.sha256" (hex) of a sealed file.
func ParseFileKey(encryption []byte, sum string) (FileKey, error) {
	bad := fmt.Errorf("%w: the key of a file", ErrMalformed)
	var w struct {
		Key json.RawMessage `json:"key"`
		IV  string          `json:"iv"`
	}
	if len(encryption) > maxJWK || exactjson.Unmarshal(encryption, &w) != nil {
		return FileKey{}, bad
	}
	k, err := parseJWK(string(w.Key))
	if err != nil {
		return FileKey{}, err
	}
	if k.text("kty") != "oct" || k.text("alg") != algFile {
		return FileKey{}, fmt.Errorf("%w: the key of a file is not %s", ErrUnsupported, algFile)
	}
	raw, iv := k.bytes("k"), []byte(nil)
	if iv, err = decode64(base64.StdEncoding, w.IV); err != nil || len(raw) != fileKeySize || len(iv) != fileIVSize {
		return FileKey{}, bad
	}
	h, err := hex.DecodeString(sum)
	if err != nil || len(h) != sha256.Size {
		return FileKey{}, fmt.Errorf("%w: the hash of a file", ErrMalformed)
	}
	return FileKey{secret: redact.Seal(&fileSecret{key: [fileKeySize]byte(raw), iv: [fileIVSize]byte(iv), sum: [sha256.Size]byte(h)})}, nil
}

// encryption returns the member "encryption".
func (k FileKey) encryption() []byte {
	s := k.secret()
	return []byte(`{"key":{"alg":"A256CTR","ext":true,"k":"` + base64.RawURLEncoding.EncodeToString(s.key[:]) +
		`","key_ops":["encrypt","decrypt"],"kty":"oct"},"iv":"` + base64.StdEncoding.EncodeToString(s.iv[:]) + `"}`)
}

func (k FileKey) hash() string { s := k.secret(); return hex.EncodeToString(s.sum[:]) }

// Secret returns the key as JSON that [ParseFileKeyText] reads: it opens the
// file, so it is as secret as the message.
func (k FileKey) Secret() []byte {
	return fmt.Appendf(nil, `{"encryption":%s,"sha256":"%s"}`, k.encryption(), k.hash())
}

// ParseFileKeyText reads what Secret returned.
func ParseFileKeyText(text []byte) (FileKey, error) {
	var w struct {
		Encryption json.RawMessage `json:"encryption"`
		SHA256     string          `json:"sha256"`
	}
	if len(text) > 2*maxJWK || exactjson.Unmarshal(text, &w) != nil {
		return FileKey{}, fmt.Errorf("%w: the key of a file", ErrMalformed)
	}
	return ParseFileKey(w.Encryption, w.SHA256)
}

// HashName returns the name under which a sealed file is uploaded: the SHA-256 of
// its name in lower-case hex.
func HashName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// mediaGroup returns the first part of a media type, "file" if there is none.
func mediaGroup(mediaType string) string {
	group, _, ok := strings.Cut(mediaType, "/")
	if !ok || group == "" {
		return "file"
	}
	return group
}

// fileFormat returns the extension of a name in upper case, as clients show it.
func fileFormat(name string) string {
	return strings.ToUpper(strings.TrimPrefix(path.Ext(name), "."))
}

// A ctr is AES-CTR as WebCrypto does it with a length of 64: the low half of the
// counter block runs over without a carry, where cipher.NewCTR carries.
type ctr struct {
	block  cipher.Block
	iv     [fileIVSize]byte
	stream cipher.Stream
	left   uint64 // bytes until the low half runs over; 0 for never
}

func newCTR(s *fileSecret) *ctr {
	c := &ctr{block: newAES(s.key[:]), iv: s.iv}
	c.stream = cipher.NewCTR(c.block, c.iv[:])
	// 2^64 minus the low half, in blocks; beyond 2^60 no file reaches it.
	if blocks := -binary.BigEndian.Uint64(c.iv[8:]); blocks != 0 && blocks < 1<<59 {
		c.left = blocks * aes.BlockSize
	}
	return c
}

func (c *ctr) xor(dst, src []byte) {
	if c.left > 0 && uint64(len(src)) >= c.left {
		n := int(c.left)
		c.stream.XORKeyStream(dst[:n], src[:n])
		clear(c.iv[8:])
		c.stream, c.left = cipher.NewCTR(c.block, c.iv[:]), 0
		dst, src = dst[n:], src[n:]
	} else if c.left > 0 {
		c.left -= uint64(len(src))
	}
	c.stream.XORKeyStream(dst, src)
}

// A FileSealer reads a plaintext and gives its ciphertext, which has the same
// length. Key gives the key when all was read.
type FileSealer struct {
	from   io.Reader
	secret *fileSecret
	ctr    *ctr
	hash   hash.Hash
	size   int64
	done   bool
}

// NewFileSealer makes a key from rand for the file that plaintext gives.
func NewFileSealer(rand, plaintext io.Reader) (*FileSealer, error) {
	s := &fileSecret{}
	var b [fileKeySize + fileIVSize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("rocketchat: making the key of a file: %w", err)
	}
	copy(s.key[:], b[:fileKeySize])
	copy(s.iv[:], b[fileKeySize:])
	clear(b[:])
	return &FileSealer{from: plaintext, secret: s, ctr: newCTR(s), hash: sha256.New()}, nil
}

// Read implements io.Reader.
func (f *FileSealer) Read(p []byte) (int, error) {
	n, err := f.from.Read(p[:min(len(p), fileChunk)])
	f.hash.Write(p[:n])
	f.ctr.xor(p[:n], p[:n])
	f.size += int64(n)
	f.done = f.done || err == io.EOF
	return n, err
}

// Key returns the key and the size of the plaintext, once Read has returned
// io.EOF.
func (f *FileSealer) Key() (FileKey, int64, error) {
	if !f.done {
		return FileKey{}, 0, fmt.Errorf("%w: the file was not read to its end", ErrMalformed)
	}
	f.hash.Sum(f.secret.sum[:0])
	return FileKey{secret: redact.Seal(f.secret)}, f.size, nil
}

// OpenFile writes the plaintext of a sealed file to w. Only if it returns nil is
// what it has written what the sender sealed; otherwise it must not be used.
func OpenFile(w io.Writer, k FileKey, sealed io.Reader) error {
	s := k.secret()
	c, h, buf := newCTR(s), sha256.New(), make([]byte, fileChunk)
	for {
		n, err := sealed.Read(buf)
		c.xor(buf[:n], buf[:n])
		h.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("writing a file: %w", err)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading a sealed file: %w", err)
		}
	}
	if subtle.ConstantTimeCompare(h.Sum(nil), s.sum[:]) != 1 {
		return fmt.Errorf("%w: the hash of the file is not the hash in the message", ErrTampered)
	}
	return nil
}
