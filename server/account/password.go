package account

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// The parameters of argon2id (RFC 9106) that do not make its cost.
const (
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// MaxPassword bounds a password in bytes.
const MaxPassword = 1024

// A Cost is what one new hash costs: memory in KiB, and the number of passes
// over it.
type Cost struct{ Memory, Passes uint32 }

// DefaultCost is what OWASP asks for at least: 19 MiB and two passes.
var DefaultCost = Cost{Memory: 19 * 1024, Passes: 2}

// A Hasher hashes passwords and compares them with hashes, a few at a time,
// since each takes memory.
type Hasher struct {
	slots chan struct{}
	cost  Cost
}

// NewHasher returns a Hasher that works on at most n passwords at once and
// makes new hashes at the given cost; those that exist keep the cost at which
// they were made.
func NewHasher(n int, cost Cost) *Hasher { return &Hasher{make(chan struct{}, n), cost} }

// The names of the hashes in their PHC strings. Both are argon2id: the first
// of the password, as earlier versions wrote it, the second of the lower-case
// hexadecimal SHA-256 of the password, which some clients send in its place.
const (
	ofPassword = "argon2id"
	ofDigest   = "sha256-argon2id"
)

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

// Hash hashes a password with argon2id, over its SHA-256, and a salt from
// rand. It takes some 30 ms at the
// default cost, so call it outside of transactions. Empty and
// overlong passwords are refused with KindInvalid.
func (h *Hasher) Hash(rand io.Reader, password string) (PasswordHash, error) {
	if password == "" || len(password) > MaxPassword {
		return PasswordHash{}, quinta.E(quinta.KindInvalid, "password", fmt.Sprintf("a password has 1 to %d bytes", MaxPassword))
	}
	salt := make([]byte, argonSalt)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return PasswordHash{}, fmt.Errorf("making a salt: %w", err)
	}
	sum := h.derive(digestOf(password), argon{salt: salt, time: h.cost.Passes, memory: h.cost.Memory, threads: argonThreads, sum: make([]byte, argonKey)})
	enc := base64.RawStdEncoding
	return PasswordHash{phc: fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", ofDigest, argon2.Version, h.cost.Memory, h.cost.Passes, argonThreads,
		enc.EncodeToString(salt), enc.EncodeToString(sum))}, nil
}

// digestOf returns the lower-case hexadecimal SHA-256 of a password.
func digestOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// An argon is a parsed PHC string.
type argon struct {
	name         string
	salt, sum    []byte
	time, memory uint32
	threads      uint8
}

// no one is what is worked on where there is nothing to compare with, so that
// it takes as long.
func (h *Hasher) nobody() argon {
	return argon{salt: make([]byte, argonSalt), sum: make([]byte, argonKey), time: h.cost.Passes, memory: h.cost.Memory, threads: argonThreads}
}

func (h *Hasher) derive(secret string, a argon) []byte {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(secret), a.salt, a.time, a.memory, a.threads, uint32(len(a.sum)))
}

// Stored returns the hash of an account, for [Hasher.Matches]. For an
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

// Replace puts a new hash in place of an old one, unless the password was
// changed meanwhile.
func Replace(tx *db.Tx, name Name, old, hash PasswordHash) error {
	return tx.Queue(`UPDATE account SET password = $1 WHERE name = $2 AND password = $3 AND closed IS NULL`, hash.phc, name, old.phc)
}

// Outdated reports whether a hash is of the form that cannot verify digests:
// at the next login in clear it is to be replaced, see [Replace].
func (p PasswordHash) Outdated() bool { return strings.HasPrefix(p.phc, "$"+ofPassword+"$") }

// Matches reports whether the password belongs to the hash. It takes some
// 30 ms also if the hash is empty.
func (h *Hasher) Matches(p PasswordHash, password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	a, ok := p.parse()
	if !ok {
		h.derive(password, h.nobody())
		return false
	}
	secret := password
	if a.name == ofDigest {
		secret = digestOf(password)
	}
	return subtle.ConstantTimeCompare(h.derive(secret, a), a.sum) == 1
}

// MatchesDigest reports whether the lower-case hexadecimal SHA-256 of a
// password belongs to the hash. For an outdated hash it is false, in the same
// time.
func (h *Hasher) MatchesDigest(p PasswordHash, digest string) bool {
	a, ok := p.parse()
	if !ok || a.name != ofDigest || len(digest) != hex.EncodedLen(sha256.Size) {
		h.derive("", h.nobody())
		return false
	}
	return subtle.ConstantTimeCompare(h.derive(digest, a), a.sum) == 1
}

// parse reads the PHC string; ok is false for the empty one and for what is
// not one of ours.
func (p PasswordHash) parse() (a argon, ok bool) {
	parts := strings.Split(p.phc, "$")
	if len(parts) != 6 || parts[1] != ofPassword && parts[1] != ofDigest {
		return a, false
	}
	a.name = parts[1]
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return a, false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil || a.memory > 1<<20 || a.time == 0 || a.time > 16 || a.threads == 0 {
		return a, false
	}
	var err1, err2 error
	a.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	a.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	return a, err1 == nil && err2 == nil && len(a.sum) >= 16 && len(a.sum) <= 64
}
