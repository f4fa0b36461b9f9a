package rocketchat

import (
	"crypto/aes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/cbc"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// The algorithms of a [Content].
const (
	// AlgorithmV1 is AES-CBC: the ciphertext is the key id, then base64.
	AlgorithmV1 = "rc.v1.aes-sha2"
	// AlgorithmV2 is AES-GCM; under a key of v1, web clients since 7.13 write
	// AES-CBC with this label and an IV of 16 bytes.
	AlgorithmV2 = "rc.v2.aes-sha2"
)

// MaxContent bounds the JSON of a content, in bytes, and MaxPlaintext what is
// sealed into one.
const (
	MaxContent   = 512 << 10
	MaxPlaintext = 256 << 10
)

// A Content is a sealed object as messages and uploads carry it in "content".
type Content struct {
	Algorithm  string `json:"algorithm"`
	KeyID      string `json:"kid,omitempty"`
	IV         string `json:"iv,omitempty"`
	Ciphertext string `json:"ciphertext"`
}

// ParseContent reads the JSON of a content. It must be small enough, have an
// algorithm that this package reads, and all that this algorithm needs.
func ParseContent(raw []byte) (Content, error) {
	var c Content
	if len(raw) > MaxContent {
		return c, fmt.Errorf("%w: a content of %d bytes", ErrMalformed, len(raw))
	}
	list, err := canonicaljson.Members(raw)
	if err != nil {
		return c, fmt.Errorf("%w: a content that is not a JSON object", ErrMalformed)
	}
	known := map[string]*string{"algorithm": &c.Algorithm, "kid": &c.KeyID, "iv": &c.IV, "ciphertext": &c.Ciphertext}
	for _, m := range list {
		if to := known[m.Name]; to != nil && (m.Value[0] != '"' || exactjson.Unmarshal(m.Value, to) != nil) {
			return Content{}, fmt.Errorf("%w: a member of a content that is not a string", ErrMalformed)
		}
	}
	return c, c.Check()
}

// Check reports whether c has all that its algorithm needs.
func (c Content) Check() error {
	switch c.Algorithm {
	case AlgorithmV1:
		_, err := StringKeyID(c.Ciphertext)
		return err
	case AlgorithmV2:
		if err := CheckKeyID(c.KeyID); err != nil {
			return err
		}
		if c.IV == "" || c.Ciphertext == "" {
			return fmt.Errorf("%w: a content without an IV or a ciphertext", ErrMalformed)
		}
		return nil
	}
	return fmt.Errorf("%w: a content of another algorithm", ErrUnsupported)
}

// RoomKeyID returns the id of the room key that a checked content is sealed with.
func (c Content) RoomKeyID() string {
	if c.Algorithm == AlgorithmV1 {
		return c.Ciphertext[:idV1]
	}
	return c.KeyID
}

// StringKeyID returns the id of the room key that a message of the string form
// is sealed with.
func StringKeyID(text string) (string, error) {
	if len(text) <= idV1 || len(text) > MaxContent {
		return "", fmt.Errorf("%w: a ciphertext of %d bytes", ErrMalformed, len(text))
	}
	return text[:idV1], CheckKeyID(text[:idV1])
}

// SealContent seals plaintext with a room key. A key of v1 gives the label of
// v1, also where the server would take v2: the label then says what it is.
func SealContent(rand io.Reader, k RoomKey, plaintext []byte) (Content, error) {
	if k.Form() == V1 {
		text, err := SealString(rand, k, plaintext)
		return Content{Algorithm: AlgorithmV1, Ciphertext: text}, err
	}
	if len(plaintext) > MaxPlaintext {
		return Content{}, fmt.Errorf("%w: a message of %d bytes", ErrMalformed, len(plaintext))
	}
	var iv [gcmIV]byte
	if _, err := io.ReadFull(rand, iv[:]); err != nil {
		return Content{}, fmt.Errorf("rocketchat: making an IV: %w", err)
	}
	sealed := k.secret().gcm.Seal(nil, iv[:], plaintext, nil)
	return Content{Algorithm: AlgorithmV2, KeyID: k.id, IV: base64.StdEncoding.EncodeToString(iv[:]), Ciphertext: base64.StdEncoding.EncodeToString(sealed)}, nil
}

// SealString seals plaintext in the string form, with a key of v1: the key id,
// then the base64 of the IV and the blocks.
func SealString(rand io.Reader, k RoomKey, plaintext []byte) (string, error) {
	if k.Form() != V1 || len(k.id) != idV1 {
		return "", fmt.Errorf("%w: the string form needs a room key of v1", ErrUnsupported)
	}
	if len(plaintext) > MaxPlaintext {
		return "", fmt.Errorf("%w: a message of %d bytes", ErrMalformed, len(plaintext))
	}
	iv := make([]byte, aes.BlockSize, aes.BlockSize+cbc.Size(len(plaintext)))
	if _, err := io.ReadFull(rand, iv); err != nil {
		return "", fmt.Errorf("rocketchat: making an IV: %w", err)
	}
	return k.id + base64.StdEncoding.EncodeToString(cbc.Seal(iv, k.secret().block, iv, plaintext)), nil
}

// OpenContent opens a content with the room key that it names. The key decides
// on the cipher, never the label; what a key of v1 opens is not authenticated.
func OpenContent(k RoomKey, c Content) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Algorithm == AlgorithmV1 {
		return OpenString(k, c.Ciphertext)
	}
	if c.KeyID != k.id {
		return nil, ErrOtherKey
	}
	iv, err := decode64(base64.StdEncoding, c.IV)
	if err != nil {
		return nil, fmt.Errorf("%w: an IV that is not base64", ErrMalformed)
	}
	sealed, err := decode64(base64.StdEncoding, c.Ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%w: a ciphertext that is not base64", ErrMalformed)
	}
	s := k.secret()
	switch {
	case s.form == V1 && len(iv) == aes.BlockSize:
		return openCBC(s, iv, sealed)
	case s.form == V1:
		return nil, fmt.Errorf("%w: AES-GCM under a room key of v1", ErrUnsupported)
	case len(iv) != gcmIV || len(sealed) < gcmTag:
		return nil, fmt.Errorf("%w: an IV of %d bytes or a ciphertext without a tag", ErrMalformed, len(iv))
	}
	plain, err := s.gcm.Open(nil, iv, sealed, nil)
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}

// OpenString opens a message of the string form with the room key that it names.
func OpenString(k RoomKey, text string) ([]byte, error) {
	if _, err := StringKeyID(text); err != nil {
		return nil, err
	}
	if k.Form() != V1 {
		return nil, fmt.Errorf("%w: AES-CBC under a room key of v2", ErrUnsupported)
	}
	rest, ok := strings.CutPrefix(text, k.id)
	if !ok {
		return nil, ErrOtherKey
	}
	raw, err := decode64(base64.StdEncoding, rest)
	if err != nil || len(raw) < 2*aes.BlockSize || len(raw)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: a ciphertext that is not a whole number of blocks", ErrMalformed)
	}
	return openCBC(k.secret(), raw[:aes.BlockSize], raw[aes.BlockSize:])
}

func openCBC(s *roomSecret, iv, sealed []byte) ([]byte, error) {
	plain, err := cbc.Open(s.block, iv, sealed)
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}
