package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A BackupSecret opens a sealed backup: a recovery key, or a passphrase.
type BackupSecret struct {
	_          [0]func()
	recovery   [32]byte
	passphrase string
}

// String hides the secret.
func (s *BackupSecret) String() string { return "[redacted]" }

// GoString hides the secret.
func (s *BackupSecret) GoString() string { return "[redacted]" }

// FromRecovery takes a recovery key; see ParseRecovery and RecoveryText.
func FromRecovery(k [32]byte) *BackupSecret { return &BackupSecret{recovery: k} }

// minPassphrase is the shortest passphrase in bytes.
const minPassphrase = 12

// FromPassphrase takes a passphrase of 12 bytes or more.
func FromPassphrase(p string) (*BackupSecret, error) {
	if len(p) < minPassphrase || len(p) > 1024 {
		return nil, fmt.Errorf("%w: a passphrase has %d to 1024 bytes", cert.ErrMalformed, minPassphrase)
	}
	return &BackupSecret{passphrase: p}, nil
}

// A KeptSecret is a BackupSecret as a device keeps it among its own secrets,
// for later uploads. Its JSON is the form in the store.
type KeptSecret struct {
	Recovery   []byte `json:"recovery,omitempty"`
	Passphrase string `json:"passphrase,omitempty"`
}

// String hides the secret.
func (k KeptSecret) String() string { return "[redacted]" }

// GoString hides the secret.
func (k KeptSecret) GoString() string { return "[redacted]" }

// Kept returns the secret as a device keeps it.
func (s *BackupSecret) Kept() KeptSecret {
	if s.passphrase != "" {
		return KeptSecret{Passphrase: s.passphrase}
	}
	return KeptSecret{Recovery: s.recovery[:]}
}

// Secret returns the secret that was kept.
func (k KeptSecret) Secret() (*BackupSecret, error) {
	switch {
	case k.Passphrase != "":
		return FromPassphrase(k.Passphrase)
	case len(k.Recovery) != 32:
		return nil, fmt.Errorf("%w: the secret of a backup", cert.ErrMalformed)
	}
	return FromRecovery([32]byte(k.Recovery)), nil
}

// The derivations of a backup's key.
const (
	kdfRecovery = "recovery"
	kdfArgon2id = "argon2id"
)

// The cost of argon2id (RFC 9106, section 4, second choice), and the bounds of
// what is read: not so weak that a server could make guessing cheap, not so
// dear that it could stop the client.
const (
	argonTime, argonMemory, argonThreads = 3, 64 << 10, 4
	maxArgonTime, maxArgonMemory         = 10, 1 << 20
)

// backupHead is what is sent in clear, and is authenticated.
type backupHead struct {
	V       int    `json:"v"`
	KDF     string `json:"kdf"`
	Salt    []byte `json:"salt"`
	Time    uint32 `json:"time,omitempty"`
	Memory  uint32 `json:"memory,omitempty"` // KiB
	Threads uint8  `json:"threads,omitempty"`
	Nonce   []byte `json:"nonce"`
}

type sealedBackup struct {
	backupHead
	Sealed []byte `json:"sealed"`
}

const backupVersion = 1

// maxBackup bounds a sealed backup in bytes.
const maxBackup = 1 << 20

// SealBackup seals a device's keys, in whatever format it keeps them:
// AES-256-GCM under HKDF-SHA-256 of the recovery key, or of argon2id of the
// passphrase. The result is a JSON object.
func SealBackup(rand io.Reader, plain []byte, secret *BackupSecret) ([]byte, error) {
	b := sealedBackup{backupHead: backupHead{V: backupVersion, KDF: kdfRecovery, Salt: make([]byte, 16), Nonce: make([]byte, 12)}}
	if secret.passphrase != "" {
		b.KDF, b.Time, b.Memory, b.Threads = kdfArgon2id, argonTime, argonMemory, argonThreads
	}
	for _, part := range [][]byte{b.Salt, b.Nonce} {
		if _, err := io.ReadFull(rand, part); err != nil {
			return nil, fmt.Errorf("ca: sealing a backup: %w", err)
		}
	}
	a, head, err := b.aead(secret)
	if err != nil {
		return nil, err
	}
	b.Sealed = a.Seal(nil, b.Nonce, plain, head)
	if len(b.Sealed) > maxBackup/2 {
		return nil, fmt.Errorf("%w: the backup is too large", cert.ErrMalformed)
	}
	return canonicaljson.Marshal(&b)
}

// BackupByPassphrase reports whether a passphrase opens the backup, and not a
// recovery key.
func BackupByPassphrase(raw []byte) (bool, error) {
	b, err := parseBackup(raw)
	if err != nil {
		return false, err
	}
	return b.KDF == kdfArgon2id, nil
}

func parseBackup(raw []byte) (*sealedBackup, error) {
	b := &sealedBackup{}
	if len(raw) > maxBackup || canonicaljson.Valid(raw) != nil || exactjson.Unmarshal(raw, b) != nil {
		return nil, fmt.Errorf("%w: not a sealed backup", cert.ErrMalformed)
	}
	switch {
	case b.V != backupVersion:
		return nil, fmt.Errorf("%w: version %d of the backup", cert.ErrUnsupported, b.V)
	case len(b.Salt) != 16 || len(b.Nonce) != 12 || len(b.Sealed) < 16:
		return nil, fmt.Errorf("%w: a member of the backup", cert.ErrMalformed)
	case b.KDF == kdfRecovery && b.Time == 0 && b.Memory == 0 && b.Threads == 0:
	case b.KDF == kdfArgon2id && b.Time >= 1 && b.Time <= maxArgonTime && b.Memory >= 19<<10 && b.Memory <= maxArgonMemory && b.Threads >= 1 && b.Threads <= 16:
	default:
		return nil, fmt.Errorf("%w: the key derivation of the backup", cert.ErrUnsupported)
	}
	return b, nil
}

// OpenBackup opens what SealBackup has made. A wrong secret and an altered
// backup give the same error, ErrTampered.
func OpenBackup(raw []byte, secret *BackupSecret) ([]byte, error) {
	b, err := parseBackup(raw)
	if err != nil {
		return nil, err
	}
	if (b.KDF == kdfArgon2id) != (secret.passphrase != "") {
		return nil, fmt.Errorf("%w: the backup opens with the other kind of secret", cert.ErrUnsupported)
	}
	a, head, err := b.aead(secret)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, b.Nonce, b.Sealed, head)
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}

// aead returns the cipher of a backup and the head that is authenticated.
func (b *sealedBackup) aead(secret *BackupSecret) (cipher.AEAD, []byte, error) {
	head, err := canonicaljson.Marshal(&b.backupHead)
	if err != nil {
		return nil, nil, err
	}
	ikm := secret.recovery[:]
	if b.KDF == kdfArgon2id {
		ikm = argon2.IDKey([]byte(secret.passphrase), b.Salt, b.Time, b.Memory, b.Threads, 32)
	}
	k, err := hkdf.Key(sha256.New, ikm, b.Salt, "quinta-ca-backup/1 "+b.KDF, 32)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, nil, err
	}
	a, err := cipher.NewGCM(block)
	return a, head, err
}
