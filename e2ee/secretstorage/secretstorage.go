// Package secretstorage implements the secret storage of the Matrix
// client-server API ("Secrets", algorithm m.secret_storage.v1.aes-hmac-sha2,
// also called 4S): secrets that a user keeps in account data under one
// storage key.
//
// [Seal] and [Open] are for any secret. [OpenSigning] and [OpenBackup] are for
// the secrets of cross-signing and backup: they take the public key that
// belongs to the secret and refuse any other, so that a server gains nothing
// by replacing it with an older or foreign secret. The MAC covers the
// ciphertext but not the IV; a changed IV gives another secret, which only
// that comparison detects. Prefer these functions wherever there is a public
// key.
//
// The storage key comes from a recovery key ([ParseKey]) or from a passphrase
// ([Passphrase.Key]); [Description.Check] says whether it is the right one.
package secretstorage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/recoverykey"
	"github.com/quinta-chat/quinta/key"
)

// Algorithm is the name of the only algorithm of storage keys.
const Algorithm = "m.secret_storage.v1.aes-hmac-sha2"

// Names of the secrets that the specification defines; they are the types of
// their account data as well.
const (
	NameMaster      = "m.cross_signing.master"
	NameSelfSigning = "m.cross_signing.self_signing"
	NameUserSigning = "m.cross_signing.user_signing"
	NameBackup      = "m.megolm_backup.v1"
)

const (
	ivSize  = 16
	macSize = sha256.Size
	// maxSecret bounds the text of an encrypted secret.
	maxSecret = 64 << 10
)

// Errors of this package. None holds any part of a secret.
var (
	// ErrMalformed: the account data have another shape.
	ErrMalformed = errors.New("secretstorage: malformed")
	// ErrUnsupported: the key is of an algorithm that this package does not know.
	ErrUnsupported = errors.New("secretstorage: unsupported algorithm")
	// ErrWeak: the description asks for so few rounds that a passphrase would be
	// cheap to guess. A recovery key is not affected.
	ErrWeak = errors.New("secretstorage: too few rounds for a passphrase")
	// ErrOpen: the key is not the right one, or the secret was altered.
	ErrOpen = errors.New("secretstorage: wrong key or altered secret")
	// ErrMismatch: the secret opened and does not belong to the public key.
	ErrMismatch = errors.New("secretstorage: the secret does not belong to its public key")
	// ErrNotStored: the secret is not stored under this key.
	ErrNotStored = errors.New("secretstorage: not stored under this key")
)

// An Encrypted is one secret under one key, in base64.
type Encrypted struct {
	IV         string `json:"iv"`
	Ciphertext string `json:"ciphertext"`
	MAC        string `json:"mac"`
}

// Seal encrypts the text secret, which is stored under name. It takes 16
// bytes from rand.
func Seal(rand io.Reader, k key.SecretStorageKey, name string, secret []byte) (Encrypted, error) {
	iv, err := newIV(rand)
	if err != nil {
		return Encrypted{}, err
	}
	text, mac := crypt(k, name, iv, secret, true)
	return Encrypted{IV: base64text.Encode(iv), Ciphertext: base64text.Encode(text), MAC: base64text.Encode(mac)}, nil
}

// Open decrypts the secret that is stored under name.
func Open(k key.SecretStorageKey, name string, e Encrypted) ([]byte, error) {
	if len(e.Ciphertext) > maxSecret {
		return nil, fmt.Errorf("%w: secret too long", ErrMalformed)
	}
	iv, mac, err := decodeCheck(e.IV, e.MAC)
	if err != nil {
		return nil, err
	}
	text, err := base64text.Decode(e.Ciphertext)
	if err != nil || len(text) == 0 {
		return nil, fmt.Errorf("%w: ciphertext", ErrMalformed)
	}
	secret, want := crypt(k, name, iv, text, false)
	if !hmac.Equal(mac, want) {
		clear(secret)
		return nil, ErrOpen
	}
	return secret, nil
}

// OpenSigning opens a stored private cross-signing key, which must be that of
// public.
func OpenSigning[R key.SigningRole](k key.SecretStorageKey, name string, e Encrypted, public key.SigningPublic[R]) (key.SigningPrivate[R], error) {
	text, err := Open(k, name, e)
	if err != nil {
		return key.SigningPrivate[R]{}, err
	}
	defer clear(text)
	private, err := key.ParseSigningPrivate[R](string(text))
	if err != nil || private.Public() != public {
		return key.SigningPrivate[R]{}, ErrMismatch
	}
	return private, nil
}

// OpenBackup opens the stored private key of the key backup, which must be
// that of public.
func OpenBackup(k key.SecretStorageKey, e Encrypted, public key.BackupPublic) (key.BackupPrivate, error) {
	text, err := Open(k, NameBackup, e)
	if err != nil {
		return key.BackupPrivate{}, err
	}
	defer clear(text)
	private, err := key.ParseAgreementPrivate[key.Backup](string(text))
	if err != nil || private.Public() != public {
		return key.BackupPrivate{}, ErrMismatch
	}
	return private, nil
}

// Text returns a 32-byte private key as secrets hold it. The caller wipes
// both.
func Text(secret []byte) []byte { return []byte(base64text.EncodeSecret(secret)) }

// newIV makes an IV whose bit 63 is zero: implementations of CTR differ
// beyond it.
func newIV(rand io.Reader) ([]byte, error) {
	iv := make([]byte, ivSize)
	if _, err := io.ReadFull(rand, iv); err != nil {
		return nil, fmt.Errorf("secretstorage: making an IV: %w", err)
	}
	iv[8] &= 0x7f
	return iv, nil
}

// crypt encrypts or decrypts in with the keys of name, and returns the MAC of
// the ciphertext, which is out if seal is set and in if not.
func crypt(k key.SecretStorageKey, name string, iv, in []byte, seal bool) (out, mac []byte) {
	secret := k.Secret()
	defer clear(secret)
	keys, err := hkdf.Key(sha256.New, secret, make([]byte, 32), name, 64)
	if err != nil {
		panic("secretstorage: internal error: " + err.Error())
	}
	defer clear(keys)
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		panic("secretstorage: internal error: " + err.Error())
	}
	out = make([]byte, len(in))
	cipher.NewCTR(block, iv).XORKeyStream(out, in)
	h := hmac.New(sha256.New, keys[32:])
	if seal {
		h.Write(out)
	} else {
		h.Write(in)
	}
	return out, h.Sum(nil)
}

func decodeCheck(ivText, macText string) (iv, mac []byte, err error) {
	iv, err = base64text.Decode(ivText)
	if err != nil || len(iv) != ivSize {
		return nil, nil, fmt.Errorf("%w: iv", ErrMalformed)
	}
	mac, err = base64text.Decode(macText)
	if err != nil || len(mac) != macSize {
		return nil, nil, fmt.Errorf("%w: mac", ErrMalformed)
	}
	return iv, mac, nil
}

// ParseKey reads a storage key as RecoveryKey shows it.
func ParseKey(text string) (key.SecretStorageKey, error) {
	b, err := recoverykey.Decode(text)
	if err != nil {
		return key.SecretStorageKey{}, err
	}
	defer clear(b[:])
	return key.NewSymmetric[key.SecretStorage](b[:])
}

// RecoveryKey returns k as it is shown to its owner.
func RecoveryKey(k key.SecretStorageKey) string {
	b := k.Secret()
	defer clear(b)
	return recoverykey.Encode([32]byte(b))
}

// secretContent is the account data of one secret.
type secretContent struct {
	Encrypted map[string]json.RawMessage `json:"encrypted"`
}

// ParseSecret reads the account data of a secret and returns what is stored
// under the key with the given id.
func ParseSecret(content []byte, keyID string) (Encrypted, error) {
	var c secretContent
	if err := exactjson.Unmarshal(content, &c); err != nil {
		return Encrypted{}, fmt.Errorf("%w: secret", ErrMalformed)
	}
	raw, ok := c.Encrypted[keyID]
	if !ok {
		return Encrypted{}, ErrNotStored
	}
	var e Encrypted
	if err := exactjson.Unmarshal(raw, &e); err != nil {
		return Encrypted{}, fmt.Errorf("%w: secret", ErrMalformed)
	}
	return e, nil
}

// SecretContent returns the account data of a secret that is stored under one
// key.
func SecretContent(keyID string, e Encrypted) []byte {
	b, err := json.Marshal(map[string]map[string]Encrypted{"encrypted": {keyID: e}})
	if err != nil {
		panic("secretstorage: internal error: " + err.Error())
	}
	return b
}
