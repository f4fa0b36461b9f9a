package rocketchat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/cbc"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A Form is one of the two suites.
type Form int

// The suites.
const (
	// V1 is AES-CBC, as the specification has it: not authenticated.
	V1 Form = iota + 1
	// V2 is AES-GCM, as Rocket.Chat 7.13 and later have it.
	V2
)

// The bounds and parameters of a key blob. A blob that asks for more rounds than
// maxIterations would keep the device busy for as long as the server likes, and
// of form v2 no program writes one with fewer than iterationsV2: the password of
// such a blob would be cheap to guess.
const (
	maxBlob       = 16 << 10
	minBlobText   = 1 << 10 // of the ciphertext of a private key of 2048 bits
	iterationsV1  = 1000
	iterationsV2  = 100_000
	maxIterations = 2_000_000
	maxSalt       = 256
	masterKeySize = 32
	gcmIV         = 12
	gcmTag        = 16
)

// masterKey derives the key of a blob from the bytes of a password.
func masterKey(password, salt []byte, iterations int) ([]byte, error) {
	k, err := pbkdf2.Key(sha256.New, string(password), salt, iterations, masterKeySize)
	if err != nil {
		return nil, fmt.Errorf("rocketchat: deriving the master key: %w", err)
	}
	return k, nil
}

// SealPrivateKey writes a key blob of form v2 for a user id, as the server keeps
// it. The password must pass [CheckPassword].
func SealPrivateKey(rand io.Reader, k PrivateKey, password, user string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	id, err := randomUUID(rand)
	if err != nil {
		return "", err
	}
	salt := "v2:" + user + ":" + id
	if len(salt) > maxSalt {
		return "", fmt.Errorf("%w: a user id of %d bytes", ErrMalformed, len(user))
	}
	master, err := masterKey([]byte(password), []byte(salt), iterationsV2)
	if err != nil {
		return "", err
	}
	defer clear(master)
	var iv [gcmIV]byte
	if _, err := io.ReadFull(rand, iv[:]); err != nil {
		return "", fmt.Errorf("rocketchat: making an IV: %w", err)
	}
	sealed := newGCM(master).Seal(nil, iv[:], []byte(k.Secret()), nil)
	return `{"iv":"` + base64.StdEncoding.EncodeToString(iv[:]) + `","ciphertext":"` + base64.StdEncoding.EncodeToString(sealed) +
		`","salt":` + string(jsonText(salt)) + `,"iterations":` + strconv.Itoa(iterationsV2) + `}`, nil
}

// SealPrivateKeyV1 writes a key blob as the specification has it: 1,000 rounds
// and AES-CBC. It is for the legacy profile alone.
func SealPrivateKeyV1(rand io.Reader, k PrivateKey, password, user string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	master, err := masterKey([]byte(password), []byte(user), iterationsV1)
	if err != nil {
		return "", err
	}
	defer clear(master)
	iv := make([]byte, aes.BlockSize)
	if _, err := io.ReadFull(rand, iv); err != nil {
		return "", fmt.Errorf("rocketchat: making an IV: %w", err)
	}
	return `{"$binary":"` + base64.StdEncoding.EncodeToString(cbc.Seal(iv, newAES(master), iv[:aes.BlockSize:aes.BlockSize], []byte(k.Secret()))) + `"}`, nil
}

// A blob is a parsed key blob.
type blob struct {
	form       Form
	iv, sealed []byte
	salt       string
	iterations int
}

// parseBlob reads a key blob; it does no work that the blob could ask for.
func parseBlob(text, user string) (*blob, error) {
	bad := func(what string) (*blob, error) { return nil, fmt.Errorf("%w: a key blob %s", ErrMalformed, what) }
	if len(text) > maxBlob {
		return bad("that is too long")
	}
	list, err := canonicaljson.Members([]byte(text))
	if err != nil {
		return bad("that is not a JSON object")
	}
	m := jwk{}
	for _, e := range list {
		m[e.Name] = e.Value
	}
	if m["$binary"] != nil {
		raw, err := decode64(base64.StdEncoding, m.text("$binary"))
		if err != nil || len(raw) < aes.BlockSize+minBlobText || len(raw)%aes.BlockSize != 0 {
			return bad("of whole blocks was cut")
		}
		return &blob{form: V1, iv: raw[:aes.BlockSize], sealed: raw[aes.BlockSize:], salt: user, iterations: iterationsV1}, nil
	}
	b := &blob{form: V2, salt: m.text("salt")}
	if b.iv, err = decode64(base64.StdEncoding, m.text("iv")); err != nil || len(b.iv) != gcmIV {
		return bad("without an IV")
	}
	if b.sealed, err = decode64(base64.StdEncoding, m.text("ciphertext")); err != nil || len(b.sealed) < minBlobText {
		return bad("that was cut off")
	}
	if b.salt == "" || len(b.salt) > maxSalt {
		return bad("without a salt")
	}
	if err := exactjson.Unmarshal(m["iterations"], &b.iterations); err != nil {
		return bad("without a count of rounds")
	}
	if b.iterations < iterationsV2 || b.iterations > maxIterations {
		return nil, fmt.Errorf("%w: a key blob of %d rounds", ErrWeak, b.iterations)
	}
	return b, nil
}

// CheckKeyBlob reports whether a text has the form of a key blob. It opens
// nothing.
func CheckKeyBlob(text string) error {
	_, err := parseBlob(text, "")
	return err
}

// OpenPrivateKey opens a key blob of any form with the password and the user id,
// and says which form it has. The password is tried as web clients and as
// mobile clients encode it. A wrong one is [ErrPassword]; a blob that no password
// opens is [ErrMalformed] or, for its count of rounds, [ErrWeak].
func OpenPrivateKey(text, password, user string) (PrivateKey, Form, error) {
	if len(password) > maxPassword {
		return PrivateKey{}, 0, ErrPassword
	}
	b, err := parseBlob(text, user)
	if err != nil {
		return PrivateKey{}, 0, err
	}
	for _, pass := range encodings(password) {
		for _, salt := range encodings(b.salt) {
			k, err := b.open(pass, salt)
			if err == nil {
				return k, b.form, nil
			}
		}
	}
	return PrivateKey{}, 0, ErrPassword
}

func (b *blob) open(password, salt []byte) (PrivateKey, error) {
	master, err := masterKey(password, salt, b.iterations)
	if err != nil {
		return PrivateKey{}, err
	}
	defer clear(master)
	var text []byte
	if b.form == V1 {
		text, err = cbc.Open(newAES(master), b.iv, b.sealed)
	} else {
		text, err = newGCM(master).Open(nil, b.iv, b.sealed, nil)
	}
	if err != nil {
		return PrivateKey{}, ErrPassword
	}
	defer clear(text)
	return ParsePrivateKey(string(text))
}

func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	return block
}

func newGCM(key []byte) cipher.AEAD {
	a, err := cipher.NewGCM(newAES(key))
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	return a
}

// jsonText returns text as a JSON string.
func jsonText(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	return b
}

// randomUUID returns a random UUID (RFC 9562, version 4).
func randomUUID(rand io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("rocketchat: making an id: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
