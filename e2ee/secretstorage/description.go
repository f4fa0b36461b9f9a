package secretstorage

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha512"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

const (
	passphraseAlgorithm = "m.pbkdf2"
	keyBits             = 256
	// DefaultIterations is the number of PBKDF2 rounds of a new passphrase.
	DefaultIterations = 500_000
	// MinIterations is the least that a stored description may ask for: with
	// fewer, the server could make the passphrase cheap to guess.
	MinIterations = 100_000
	// MaxIterations bounds the work that a stored description can ask for.
	MaxIterations = 10_000_000
	maxSalt       = 1 << 10
	saltBytes     = 24
)

// A Passphrase says how a storage key is made from a passphrase.
type Passphrase struct {
	Algorithm  string `json:"algorithm"`
	Salt       string `json:"salt"`
	Iterations int    `json:"iterations"`
	// Bits is the length of the key; zero means 256.
	Bits int `json:"bits,omitempty"`
}

// NewPassphrase returns the parameters for a new passphrase, with a salt of
// 24 bytes from rand.
func NewPassphrase(rand io.Reader) (Passphrase, error) {
	var b [saltBytes]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return Passphrase{}, fmt.Errorf("secretstorage: making a salt: %w", err)
	}
	return Passphrase{Algorithm: passphraseAlgorithm, Salt: base64text.Encode(b[:]), Iterations: DefaultIterations, Bits: keyBits}, nil
}

// Key makes the storage key from the passphrase; it takes about a second.
// Whether the passphrase was right, [Description.Check] says.
func (p Passphrase) Key(passphrase string) (key.SecretStorageKey, error) {
	switch {
	case p.Algorithm != passphraseAlgorithm || (p.Bits != 0 && p.Bits != keyBits):
		return key.SecretStorageKey{}, ErrUnsupported
	case p.Iterations < MinIterations:
		return key.SecretStorageKey{}, fmt.Errorf("%w: %d rounds", ErrWeak, p.Iterations)
	case p.Iterations > MaxIterations:
		return key.SecretStorageKey{}, fmt.Errorf("%w: %d rounds", ErrUnsupported, p.Iterations)
	case p.Salt == "" || len(p.Salt) > maxSalt:
		return key.SecretStorageKey{}, fmt.Errorf("%w: salt", ErrMalformed)
	case passphrase == "":
		return key.SecretStorageKey{}, fmt.Errorf("%w: no passphrase", ErrOpen)
	}
	b, err := pbkdf2.Key(sha512.New, passphrase, []byte(p.Salt), p.Iterations, key.Size)
	if err != nil {
		return key.SecretStorageKey{}, fmt.Errorf("secretstorage: deriving the key: %w", err)
	}
	defer clear(b)
	return key.NewSymmetric[key.SecretStorage](b)
}

// A Description is the account data m.secret_storage.key.ID: what is known of
// a storage key.
type Description struct {
	Name       string      `json:"name,omitempty"`
	Algorithm  string      `json:"algorithm"`
	Passphrase *Passphrase `json:"passphrase,omitempty"`
	// IV and MAC are the check value; both are empty in old descriptions.
	IV  string `json:"iv,omitempty"`
	MAC string `json:"mac,omitempty"`
}

// ParseDescription reads a description. A key of another algorithm is
// ErrUnsupported.
func ParseDescription(content []byte) (Description, error) {
	var d Description
	if err := exactjson.Unmarshal(content, &d); err != nil {
		return Description{}, fmt.Errorf("%w: key description", ErrMalformed)
	}
	if d.Algorithm != Algorithm {
		return Description{}, ErrUnsupported
	}
	return d, nil
}

// Describe returns the description of k with its check value. It takes 16
// bytes from rand; p is nil if k does not come from a passphrase.
func Describe(rand io.Reader, k key.SecretStorageKey, name string, p *Passphrase) (Description, error) {
	iv, err := newIV(rand)
	if err != nil {
		return Description{}, err
	}
	_, mac := crypt(k, "", iv, make([]byte, key.Size), true)
	return Description{Name: name, Algorithm: Algorithm, Passphrase: p, IV: base64text.Encode(iv), MAC: base64text.Encode(mac)}, nil
}

// Check returns nil if k is the described key, or if the description has no
// check value, and ErrOpen if it is not. Without a check value a wrong key
// shows only when a secret is opened.
func (d Description) Check(k key.SecretStorageKey) error {
	if d.Algorithm != Algorithm {
		return ErrUnsupported
	}
	if d.IV == "" && d.MAC == "" {
		return nil
	}
	iv, mac, err := decodeCheck(d.IV, d.MAC)
	if err != nil {
		return err
	}
	if _, want := crypt(k, "", iv, make([]byte, key.Size), true); !hmac.Equal(mac, want) {
		return ErrOpen
	}
	return nil
}
