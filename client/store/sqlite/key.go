package sqlite

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
)

// KeySize is the size of a store key in bytes.
const KeySize = 32

// A Key encrypts a store at rest. It does not print, and it is a pointer, so
// that there is one copy for Wipe to clear.
type Key struct {
	_ [0]func()
	k *[KeySize]byte
}

// String returns "[redacted]".
func (Key) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (Key) GoString() string { return "[redacted]" }

// Format writes "[redacted]" whatever the verb.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// LogValue keeps the key out of logs.
func (Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText fails: a key is never part of anything that is written.
func (Key) MarshalText() ([]byte, error) {
	return nil, errors.New("sqlite: a store key is not for output")
}

// Wipe clears the key.
func (k Key) Wipe() {
	if k.k != nil {
		clear(k.k[:])
	}
}

var errKeyForm = errors.New("sqlite: a store key is 32 bytes in base64")

// NewKey makes a key from 32 bytes of rand.
func NewKey(rand io.Reader) (Key, error) {
	var k [KeySize]byte
	if _, err := io.ReadFull(rand, k[:]); err != nil {
		return Key{}, fmt.Errorf("making a store key: %w", err)
	}
	return Key{k: &k}, nil
}

// ParseKey reads a key as base64 of 32 bytes, as written in a key file or an
// environment variable. White space around it is allowed.
func ParseKey(text string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != KeySize {
		return Key{}, errKeyForm
	}
	return Key{k: (*[KeySize]byte)(b)}, nil
}

// KeyFile reads the key in a file. If there is no file, it creates a key and
// the file, readable only by its owner.
func KeyFile(path string, rand io.Reader) (Key, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return ParseKey(string(b))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return Key{}, fmt.Errorf("reading the key file: %w", err)
	}
	k, err := NewKey(rand)
	if err != nil {
		return Key{}, err
	}
	if err := writeNew(path, []byte(base64.StdEncoding.EncodeToString(k.k[:])+"\n")); err != nil {
		return Key{}, fmt.Errorf("writing the key file: %w", err)
	}
	return k, nil
}

// derivation is the file beside a store whose key comes from a passphrase.
type derivation struct {
	Algorithm string `json:"algorithm"`
	Salt      []byte `json:"salt"`
	Memory    uint32 `json:"memory_kib"`
	Time      uint32 `json:"time"`
	Threads   uint8  `json:"threads"`
}

// The cost of a passphrase: argon2id with 64 MiB and three passes (RFC 9106,
// section 4, the second recommended choice).
const (
	kdfMemory  = 64 * 1024
	kdfTime    = 3
	kdfThreads = 4
)

// PassphraseKey derives the key of the store at path from a passphrase with
// argon2id. Salt and cost are stored in the file path+".kdf", which it
// creates if there is none; without that file the store cannot be opened.
func PassphraseKey(path, passphrase string, rand io.Reader) (Key, error) {
	if passphrase == "" {
		return Key{}, errors.New("sqlite: the passphrase is empty")
	}
	d, err := readDerivation(path + ".kdf")
	if errors.Is(err, os.ErrNotExist) {
		if st, serr := os.Stat(path); serr == nil && st.Size() > 0 {
			return Key{}, fmt.Errorf("sqlite: %s.kdf is missing, and without it the passphrase cannot open the store", path)
		}
		d = derivation{Algorithm: "argon2id", Salt: make([]byte, 16), Memory: kdfMemory, Time: kdfTime, Threads: kdfThreads}
		if _, err := io.ReadFull(rand, d.Salt); err != nil {
			return Key{}, fmt.Errorf("making a salt: %w", err)
		}
		b, err := json.Marshal(d)
		if err != nil {
			return Key{}, err
		}
		if err := writeNew(path+".kdf", append(b, '\n')); err != nil {
			return Key{}, fmt.Errorf("writing the salt: %w", err)
		}
	} else if err != nil {
		return Key{}, err
	}
	return Key{k: (*[KeySize]byte)(argon2.IDKey([]byte(passphrase), d.Salt, d.Time, d.Memory, d.Threads, KeySize))}, nil
}

func readDerivation(path string) (derivation, error) {
	var d derivation
	b, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil || d.Algorithm != "argon2id" || len(d.Salt) < 8 || len(d.Salt) > 64 ||
		d.Memory < 8*1024 || d.Memory > 1<<20 || d.Time == 0 || d.Time > 64 || d.Threads == 0 || d.Threads > 64 {
		return d, fmt.Errorf("sqlite: %s is damaged, and without it the passphrase cannot open the store", path)
	}
	return d, nil
}

// writeNew writes a file that must not exist, whole and durable or not at all.
func writeNew(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Link(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Remove(tmp); err != nil {
		return err
	}
	// The name is on the disk only once the folder is.
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
