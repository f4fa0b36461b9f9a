// Package keyexport implements the key export file of the Matrix
// client-server API ("Key exports", "Key export format"): Megolm sessions as
// JSON, encrypted under a passphrase.
//
// [Seal] writes the same format as Element. [Open] also reads the other
// variants that exist: base64 without padding, on one line or wrapped, with
// CR LF, without a final newline, and the JSON as an object with a member
// "sessions". Only the passphrase protects the file: PBKDF2 merely slows
// guessing down.
package keyexport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	header  = "-----BEGIN MEGOLM SESSION DATA-----"
	trailer = "-----END MEGOLM SESSION DATA-----"
	lineLen = 96

	formatVersion = 1
	saltSize      = 16
	ivSize        = 16
	macSize       = sha256.Size
	headSize      = 1 + saltSize + ivSize + 4
)

const (
	// MinRounds is the least number of PBKDF2 rounds that Seal takes.
	MinRounds = 100_000
	// MinOpenRounds is the least number of rounds in a file that Open takes: with
	// fewer, the file is hardly protected, and its author should be asked for
	// another one.
	MinOpenRounds = 1000
	// DefaultRounds is what Element uses.
	DefaultRounds = 500_000
	// MaxRounds limits the work that a file can demand of Open, to some
	// seconds; no known program writes a tenth as many.
	MaxRounds = 10_000_000
	// MaxSize is the greatest length of a file in bytes.
	MaxSize = 64 << 20
	// MaxSessions is the greatest number of sessions in a file.
	MaxSessions = 500_000
)

// Errors of this package.
var (
	// ErrFormat: this is not a key export file, or one of another version.
	ErrFormat = errors.New("keyexport: not a key export file")
	// ErrTooLarge: the file exceeds MaxSize, MaxRounds or MaxSessions.
	ErrTooLarge = errors.New("keyexport: the file is too large or asks for too much work")
	// ErrPassphrase: the passphrase is wrong, or the file was damaged or
	// changed; these cases cannot be distinguished.
	ErrPassphrase = errors.New("keyexport: wrong passphrase or damaged file")
	// ErrWeak: Seal was given no passphrase or too few rounds, or a file has fewer
	// than MinOpenRounds.
	ErrWeak = errors.New("keyexport: no passphrase or too few rounds")
)

// Seal returns the export file of sessions under passphrase. It takes 32
// bytes from rand for the salt and the IV.
func Seal(rand io.Reader, sessions []Session, passphrase string, rounds int) ([]byte, error) {
	if passphrase == "" || rounds < MinRounds {
		return nil, ErrWeak
	}
	if rounds > MaxRounds || len(sessions) > MaxSessions {
		return nil, ErrTooLarge
	}
	plain, err := encodeSessions(sessions)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	file := make([]byte, headSize+len(plain), headSize+len(plain)+macSize)
	file[0] = formatVersion
	if _, err := io.ReadFull(rand, file[1:1+saltSize+ivSize]); err != nil {
		return nil, fmt.Errorf("keyexport: making a salt: %w", err)
	}
	file[1+saltSize+8] &= 0x7f // bit 63 of the IV is zero: implementations of CTR differ beyond it
	binary.BigEndian.PutUint32(file[headSize-4:], uint32(rounds))
	aesKey, macKey, err := deriveKeys(passphrase, file)
	if err != nil {
		return nil, err
	}
	ctr(aesKey, file).XORKeyStream(file[headSize:], plain)
	file = mac(macKey, file).Sum(file)
	if n := armouredSize(len(file)); n > MaxSize {
		return nil, ErrTooLarge
	}
	return armour(file), nil
}

// Open returns the sessions of an export file, and how many more it left out
// because they are of an algorithm other than Megolm.
func Open(file []byte, passphrase string) (sessions []Session, skipped int, err error) {
	if len(file) > MaxSize {
		return nil, 0, ErrTooLarge
	}
	raw, err := unarmour(string(file))
	if err != nil {
		return nil, 0, err
	}
	if len(raw) < headSize+macSize || raw[0] != formatVersion {
		return nil, 0, ErrFormat
	}
	rounds := binary.BigEndian.Uint32(raw[headSize-4:])
	if rounds == 0 {
		return nil, 0, ErrFormat
	}
	if rounds > MaxRounds {
		return nil, 0, ErrTooLarge
	}
	if rounds < MinOpenRounds {
		return nil, 0, fmt.Errorf("%w: %d rounds", ErrWeak, rounds)
	}
	aesKey, macKey, err := deriveKeys(passphrase, raw)
	if err != nil {
		return nil, 0, err
	}
	body := raw[:len(raw)-macSize]
	if !hmac.Equal(mac(macKey, body).Sum(nil), raw[len(body):]) {
		return nil, 0, ErrPassphrase
	}
	plain := body[headSize:]
	ctr(aesKey, body).XORKeyStream(plain, plain)
	defer clear(plain)
	return decodeSessions(plain)
}

// deriveKeys makes the two keys from the passphrase and the salt and rounds
// in the head of file.
func deriveKeys(passphrase string, file []byte) (aesKey, macKey []byte, err error) {
	rounds := binary.BigEndian.Uint32(file[headSize-4:])
	k, err := pbkdf2.Key(sha512.New, passphrase, file[1:1+saltSize], int(rounds), 64)
	if err != nil {
		return nil, nil, fmt.Errorf("keyexport: deriving the keys: %w", err)
	}
	return k[:32], k[32:], nil
}

func ctr(aesKey, file []byte) cipher.Stream {
	block, err := aes.NewCipher(aesKey)
	if err != nil {
		panic("keyexport: internal error: " + err.Error())
	}
	return cipher.NewCTR(block, file[1+saltSize:1+saltSize+ivSize])
}

// summer is the part of hash.Hash that is used here.
type summer interface{ Sum([]byte) []byte }

func mac(macKey, body []byte) summer {
	h := hmac.New(sha256.New, macKey)
	h.Write(body)
	return h
}

func armouredSize(n int) int {
	b := base64.StdEncoding.EncodedLen(n)
	return len(header) + 1 + b + (b+lineLen-1)/lineLen + len(trailer) + 1
}

// armour wraps padded base64 into lines between the two marks.
func armour(file []byte) []byte {
	text := base64.StdEncoding.EncodeToString(file)
	out := make([]byte, 0, armouredSize(len(file)))
	out = append(append(out, header...), '\n')
	for len(text) > 0 {
		n := min(lineLen, len(text))
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return append(append(out, trailer...), '\n')
}

// unarmour finds the base64 between the two marks, which are on lines of
// their own, and decodes it. Anything may come before and after them.
func unarmour(text string) ([]byte, error) {
	var b strings.Builder
	inside, ended := false, false
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\r\n")
		switch {
		case !inside:
			inside = strings.TrimPrefix(line, "\uFEFF") == header
		case line == trailer:
			ended = true
		default:
			if i := strings.Index(line, trailer); i >= 0 { // no newline before the mark
				line, ended = strings.TrimRight(line[:i], " \t"), true
			}
			b.WriteString(line)
		}
		if ended {
			break
		}
	}
	if !ended {
		return nil, ErrFormat
	}
	s := b.String()
	if len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	raw, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, ErrFormat
	}
	return raw, nil
}
