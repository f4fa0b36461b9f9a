package rocketchat

import (
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/redact"
)

// The parts of a wrapped room key: an id of any form, then always the same
// length of base64.
const (
	wrappedText = 344 // base64 of 256 bytes
	maxKeyID    = 64
	idV1        = 12 // the length of the ids of v1, in every release
	algV1       = "A128CBC"
	algV2       = "A256GCM"
	keySizeV1   = 16
	keySizeV2   = 32
)

// A RoomKey is the key that all members of a room seal with. The zero value is
// not a key.
type RoomKey struct {
	redact.Manners
	id     string
	secret redact.Box[roomSecret]
}

type roomSecret struct {
	form  Form
	key   []byte
	jwk   string
	block cipher.Block
	gcm   cipher.AEAD // for V2
}

// GenerateRoomKey makes a key of form v2 with a random UUID for its id.
func GenerateRoomKey(rand io.Reader) (RoomKey, error) {
	key := make([]byte, keySizeV2)
	if _, err := io.ReadFull(rand, key); err != nil {
		return RoomKey{}, fmt.Errorf("rocketchat: making a room key: %w", err)
	}
	defer clear(key)
	id, err := randomUUID(rand)
	if err != nil {
		return RoomKey{}, err
	}
	return ParseRoomKey(id, octJWK(algV2, key))
}

// GenerateRoomKeyV1 makes a key of form v1, for the legacy profile alone. Its id
// is the first 12 hex digits of the SHA-256 of its JWK, as clients of 7.0 to 7.12
// make it; all readers take an id as it is.
func GenerateRoomKeyV1(rand io.Reader) (RoomKey, error) {
	key := make([]byte, keySizeV1)
	if _, err := io.ReadFull(rand, key); err != nil {
		return RoomKey{}, fmt.Errorf("rocketchat: making a room key: %w", err)
	}
	defer clear(key)
	text := octJWK(algV1, key)
	return ParseRoomKey(HashedKeyID(text), text)
}

// HashedKeyID returns the id that clients of 7.0 to 7.12 give a room key: the
// first 12 hex digits of the SHA-256 of its JWK string.
func HashedKeyID(jwk string) string {
	sum := sha256.Sum256([]byte(jwk))
	return hex.EncodeToString(sum[:])[:idV1]
}

// PrefixKeyID returns the id that clients before 7.0 give a room key: the first
// 12 characters of the base64 of its JWK string. It is the same for all keys
// that one engine made.
func PrefixKeyID(jwk string) string {
	text := base64.StdEncoding.EncodeToString([]byte(jwk))
	return text[:min(idV1, len(text))]
}

func octJWK(alg string, key []byte) string {
	return `{"alg":"` + alg + `","ext":true,"k":"` + base64.RawURLEncoding.EncodeToString(key) + `","key_ops":["encrypt","decrypt"],"kty":"oct"}`
}

// ParseRoomKey reads the JWK string of a room key. The algorithm must be named
// and the key have its length.
func ParseRoomKey(id, text string) (RoomKey, error) {
	if err := CheckKeyID(id); err != nil {
		return RoomKey{}, err
	}
	k, err := parseJWK(text)
	if err != nil {
		return RoomKey{}, err
	}
	s := &roomSecret{jwk: text, key: k.bytes("k")}
	size := 0
	switch k.text("alg") {
	case algV1:
		s.form, size = V1, keySizeV1
	case algV2:
		s.form, size = V2, keySizeV2
	}
	if size == 0 || k.text("kty") != "oct" {
		return RoomKey{}, fmt.Errorf("%w: a room key of another algorithm", ErrUnsupported)
	}
	if len(s.key) != size {
		return RoomKey{}, fmt.Errorf("%w: a room key of %d bytes", ErrMalformed, len(s.key))
	}
	s.block = newAES(s.key)
	if s.form == V2 {
		s.gcm = newGCM(s.key)
	}
	return RoomKey{id: id, secret: redact.Seal(s)}, nil
}

// CheckKeyID reports whether an id of a room key has a form that can be used:
// 1 to 64 printable ASCII characters without a blank.
func CheckKeyID(id string) error {
	if id == "" || len(id) > maxKeyID {
		return fmt.Errorf("%w: a key id of %d bytes", ErrMalformed, len(id))
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%w: a key id with a character that no client writes", ErrMalformed)
		}
	}
	return nil
}

// IsZero reports whether k is not a key.
func (k RoomKey) IsZero() bool { return k.secret == nil }

// ID returns the id of the key, which is public.
func (k RoomKey) ID() string { return k.id }

// Form returns the suite of the key.
func (k RoomKey) Form() Form { return k.secret().form }

// Secret returns the JWK string of the key as it was read.
func (k RoomKey) Secret() string { return k.secret().jwk }

// Equal reports in constant time whether k and o have the same id and bytes.
func (k RoomKey) Equal(o RoomKey) bool {
	if k.IsZero() || o.IsZero() {
		return k.IsZero() && o.IsZero()
	}
	return k.id == o.id && subtle.ConstantTimeCompare(k.secret().key, o.secret().key) == 1
}

// Wrap seals the key for the owner of a public key: the id, then the base64 of
// RSA-OAEP over the JWK string.
func (k RoomKey) Wrap(rand io.Reader, to PublicKey) (string, error) {
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand, to.key, []byte(k.secret().jwk), nil)
	if err != nil {
		return "", fmt.Errorf("rocketchat: wrapping a room key: %w", err)
	}
	return k.id + base64.StdEncoding.EncodeToString(sealed), nil
}

// SplitWrapped returns the id and the RSA ciphertext of a wrapped room key.
func SplitWrapped(text string) (id string, sealed []byte, err error) {
	if len(text) <= wrappedText || len(text) > wrappedText+maxKeyID {
		return "", nil, fmt.Errorf("%w: a wrapped room key of %d bytes", ErrMalformed, len(text))
	}
	cut := len(text) - wrappedText
	if err := CheckKeyID(text[:cut]); err != nil {
		return "", nil, err
	}
	sealed, err = decode64(base64.StdEncoding, text[cut:])
	if err != nil || len(sealed) != modulusSize {
		return "", nil, fmt.Errorf("%w: a wrapped room key that is not base64", ErrMalformed)
	}
	return text[:cut], sealed, nil
}

// Unwrap opens a wrapped room key with the user's private key.
func Unwrap(k PrivateKey, text string) (RoomKey, error) {
	id, sealed, err := SplitWrapped(text)
	if err != nil {
		return RoomKey{}, err
	}
	raw, err := rsa.DecryptOAEP(sha256.New(), nil, k.secret(), sealed, nil)
	if err != nil {
		return RoomKey{}, fmt.Errorf("%w: a room key that is wrapped for another key", ErrTampered)
	}
	defer clear(raw)
	return ParseRoomKey(id, string(raw))
}
