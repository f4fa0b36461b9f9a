// Package attachment implements the encrypted attachments of the Matrix
// client-server API ("Sending encrypted attachments", EncryptedFile v2):
// AES-256-CTR under a fresh key for each file, and the SHA-256 of the
// ciphertext.
//
// [NewSealReader] and [NewSealWriter] encrypt a stream in constant memory; at
// the end they give the [File] that goes into the message. [Open] and
// [Receive] decrypt. The hash is in the message and covers the whole
// ciphertext, so nothing can be trusted before all of it has been read: both
// read it to the end first, and hand out plaintext only if the hash matches.
// Open reads ciphertext that is already stored; Receive takes it from a
// network and keeps it in storage that the caller hands in.
//
// The ciphertext is as long as the plaintext: the length is not hidden.
package attachment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

const (
	version   = "v2"
	keyType   = "oct"
	algorithm = "A256CTR"
	hashName  = "sha256"

	keySize  = 32
	ivSize   = 16
	hashSize = 32

	// maxJSON bounds the text of an EncryptedFile; real ones have 400 bytes.
	maxJSON = 64 << 10
)

// Errors of this package.
var (
	// ErrFormat: the text is not an EncryptedFile that this package reads.
	ErrFormat = errors.New("attachment: not a valid encrypted file description")
	// ErrHash: the ciphertext is not the one that the message describes.
	ErrHash = errors.New("attachment: the file is not the one that was sent")
	// ErrTooLarge: the ciphertext exceeds the caller's limit.
	ErrTooLarge = errors.New("attachment: the file is too large")
	// ErrUnfinished: the description was requested before the end of the file was reached.
	ErrUnfinished = errors.New("attachment: the file was not read to its end")
)

// A File is an EncryptedFile: where the ciphertext is, its hash, and the key
// that opens it. It prints without the key; [File.Encode] writes it whole.
type File struct {
	// URL is the mxc:// address of the ciphertext.
	URL string

	key  [keySize]byte
	iv   [ivSize]byte
	hash [hashSize]byte
	_    [0]func() // not comparable with ==
}

// jwk and encryptedFile are the JSON form.
type jwk struct {
	Alg    string   `json:"alg"`
	Ext    bool     `json:"ext"`
	K      string   `json:"k"`
	KeyOps []string `json:"key_ops"`
	Kty    string   `json:"kty"`
}

type encryptedFile struct {
	URL    string            `json:"url"`
	V      string            `json:"v"`
	Key    jwk               `json:"key"`
	IV     string            `json:"iv"`
	Hashes map[string]string `json:"hashes"`
}

// Parse reads the JSON of an EncryptedFile and checks all that the
// specification requires of it. Members that it does not know are ignored. An
// error never contains any part of the text.
func Parse(raw []byte) (*File, error) {
	if len(raw) > maxJSON {
		return nil, fmt.Errorf("%w: too long", ErrFormat)
	}
	var e encryptedFile
	if err := exactjson.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("%w: not JSON of the right shape", ErrFormat)
	}
	f := &File{URL: e.URL}
	switch {
	case e.URL == "":
		return nil, fmt.Errorf("%w: no url", ErrFormat)
	case e.V != version:
		return nil, fmt.Errorf("%w: v is not %q", ErrFormat, version)
	case e.Key.Kty != keyType:
		return nil, fmt.Errorf("%w: key.kty is not %q", ErrFormat, keyType)
	case e.Key.Alg != algorithm:
		return nil, fmt.Errorf("%w: key.alg is not %q", ErrFormat, algorithm)
	case !e.Key.Ext:
		return nil, fmt.Errorf("%w: key.ext is not true", ErrFormat)
	case !slices.Contains(e.Key.KeyOps, "encrypt") || !slices.Contains(e.Key.KeyOps, "decrypt"):
		return nil, fmt.Errorf("%w: key.key_ops lacks encrypt or decrypt", ErrFormat)
	case !fill(f.key[:], e.Key.K, decodeURL):
		return nil, fmt.Errorf("%w: key.k is not a key of %d bytes", ErrFormat, keySize)
	case !fill(f.iv[:], e.IV, base64text.Decode):
		return nil, fmt.Errorf("%w: iv does not have %d bytes", ErrFormat, ivSize)
	case !fill(f.hash[:], e.Hashes[hashName], base64text.Decode):
		return nil, fmt.Errorf("%w: hashes.sha256 does not have %d bytes", ErrFormat, hashSize)
	}
	return f, nil
}

// The key alone is in the URL-safe alphabet.
var toURL, fromURL = strings.NewReplacer("+", "-", "/", "_"), strings.NewReplacer("-", "+", "_", "/")

func decodeURL(text string) ([]byte, error) {
	if strings.ContainsAny(text, "+/") {
		return nil, base64text.ErrMalformed
	}
	return base64text.DecodeSecret(fromURL.Replace(text))
}

// fill decodes text into dst and reports whether it has just its length.
func fill(dst []byte, text string, decode func(string) ([]byte, error)) bool {
	b, err := decode(text)
	if err != nil || len(b) != len(dst) {
		return false
	}
	copy(dst, b)
	clear(b)
	return true
}

// Encode returns the JSON of f with its key: the value of "file" or
// "thumbnail_file" of a message that will itself be encrypted.
func (f *File) Encode() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(encryptedFile{
		URL: f.URL,
		V:   version,
		Key: jwk{Alg: algorithm, Ext: true, K: toURL.Replace(base64text.EncodeSecret(f.key[:])), KeyOps: []string{"encrypt", "decrypt"}, Kty: keyType},
		IV:  base64text.Encode(f.iv[:]),
		Hashes: map[string]string{
			hashName: base64text.Encode(f.hash[:]),
		},
	})
	if err != nil {
		panic("attachment: internal error: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Hash returns the SHA-256 of the ciphertext.
func (f *File) Hash() [hashSize]byte { return f.hash }

// Wipe overwrites the key.
func (f *File) Wipe() { clear(f.key[:]) }

// Format prints f without its key, whatever the verb.
func (f *File) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "attachment.File(%s, [redacted])", f.URL) }

// MarshalJSON writes f without its key, so that no log shows it; use Encode.
func (f *File) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
