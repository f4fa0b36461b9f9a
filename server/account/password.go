package account

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// The cost of argon2id (RFC 9106): 19 MiB, two passes, one lane, which is
// what OWASP asks for at least.
const (
	argonMemory  = 19 * 1024
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// MaxPassword bounds a password in bytes.
const MaxPassword = 1024

// hashing bounds how many hashes run at once, since each takes 19 MiB.
var hashing = make(chan struct{}, 4)

// A PasswordHash is what is kept of a password. It does not print.
type PasswordHash struct {
	_   [0]func()
	phc string
}

// String returns "[redacted]".
func (PasswordHash) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (PasswordHash) GoString() string { return "[redacted]" }

// LogValue keeps the hash out of logs.
func (PasswordHash) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON fails: a hash never leaves the store.
func (PasswordHash) MarshalJSON() ([]byte, error) {
	return nil, errors.New("account: a password hash is not for output")
}

// MarshalText fails: a hash never leaves the store.
func (PasswordHash) MarshalText() ([]byte, error) {
	return nil, errors.New("account: a password hash is not for output")
}

// Hash hashes a password with argon2id and a salt from rand. It takes some
// 30 ms, so call it outside of transactions. Empty and overlong passwords are
// refused with KindInvalid.
func Hash(rand io.Reader, password string) (PasswordHash, error) {
	if password == "" || len(password) > MaxPassword {
		return PasswordHash{}, quinta.E(quinta.KindInvalid, "password", fmt.Sprintf("a password has 1 to %d bytes", MaxPassword))
	}
	salt := make([]byte, argonSalt)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return PasswordHash{}, fmt.Errorf("making a salt: %w", err)
	}
	sum := derive(password, salt, argonTime, argonMemory, argonThreads, argonKey)
	enc := base64.RawStdEncoding
	return PasswordHash{phc: fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		enc.EncodeToString(salt), enc.EncodeToString(sum))}, nil
}

func derive(password string, salt []byte, t, m uint32, p uint8, n uint32) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, t, m, p, n)
}

// Stored returns the hash of an account, for [PasswordHash.Matches]. For an
// account that does not exist, is closed or has no password it returns a hash
// that no password matches, at the same cost, so that the answer and its time
// do not tell who has an account.
func Stored(tx *db.Tx, name Name) (PasswordHash, error) {
	var h PasswordHash
	err := tx.Row(`SELECT password FROM account WHERE name = $1 AND closed IS NULL`, name).Scan(&h.phc)
	if errors.Is(err, db.ErrNoRows) {
		return PasswordHash{}, nil
	}
	return h, err
}

// Matches reports whether the password belongs to the hash. It takes some
// 30 ms also if the hash is empty.
func (h PasswordHash) Matches(password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	var m, t uint32
	var p uint8
	var version int
	parts := strings.Split(h.phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		derive(password, make([]byte, argonSalt), argonTime, argonMemory, argonThreads, argonKey)
		return false
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || m > 1<<20 || t > 16 || p == 0 {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) < 16 || len(want) > 64 {
		return false
	}
	return subtle.ConstantTimeCompare(derive(password, salt, t, m, p, uint32(len(want))), want) == 1
}
