// Package keybackup implements the server-side key backup of the Matrix
// client-server API, algorithm m.megolm_backup.v1.curve25519-aes-sha2:
// entries sealed to a public key, and the recovery key that opens them.
//
// [Seal] makes an entry and [Open] reads one. Only the owner of the private key
// can read entries, but anyone who knows the public key can write them, and the
// MAC of an entry covers nothing (a mistake in the first implementation that all
// others keep): the server can replace or alter entries. Open therefore compares
// the session with its id and room, and the code that uses it must mark the
// session as coming from an unproven source.
//
// A backup is written to only after [AuthData] was checked: its public key
// follows from a private key of trusted origin ([AuthData.Matches]), or it is
// signed by the user's own master key or a verified device of the user ([AuthData.Verify]).
package keybackup

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/cbc"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/recoverykey"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/key"
)

// Algorithm is the name of the backup algorithm.
const Algorithm = "m.megolm_backup.v1.curve25519-aes-sha2"

const (
	macSize = 8
	// maxEntry bounds the ciphertext of an entry; real ones have 700 bytes.
	maxEntry = 64 << 10
)

// Errors of this package.
var (
	// ErrMalformed: this is not an entry or not auth_data of this algorithm.
	ErrMalformed = errors.New("keybackup: malformed")
	// ErrOpen: the entry does not open with this key, or was altered.
	ErrOpen = errors.New("keybackup: wrong key or altered entry")
	// ErrMismatch: the session inside does not belong to the entry's id and room.
	ErrMismatch = errors.New("keybackup: the entry holds another session")
	// ErrUntrusted: the public key of the backup is not proven to be the user's own.
	ErrUntrusted = errors.New("keybackup: the backup is not the account's own")
)

// A Session is an inbound Megolm session as it is backed up.
type Session = sessiondata.Session

// SessionData is the member session_data of a backup entry, in unpadded
// base64.
type SessionData struct {
	Ephemeral  string `json:"ephemeral"`
	Ciphertext string `json:"ciphertext"`
	MAC        string `json:"mac"`
}

// Entry is KeyBackupData: what the server stores for one session.
type Entry struct {
	FirstMessageIndex uint32      `json:"first_message_index"`
	ForwardedCount    int         `json:"forwarded_count"`
	IsVerified        bool        `json:"is_verified"`
	SessionData       SessionData `json:"session_data"`
}

// Seal returns the entry of s. It takes 32 bytes from rand. Whether the
// session came from a verified device is for the caller to say.
func Seal(rand io.Reader, to key.BackupPublic, s Session, verified bool) (Entry, error) {
	first, err := s.Check()
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e := Entry{FirstMessageIndex: first, ForwardedCount: len(s.ForwardingChain), IsVerified: verified}
	s.RoomID, s.SessionID = "", "" // they stand outside
	plain := s.Encode()
	defer clear(plain)
	e.SessionData, err = seal(rand, to, plain)
	return e, err
}

func seal(rand io.Reader, to key.BackupPublic, plain []byte) (SessionData, error) {
	ephemeral, err := key.GenerateAgreement[key.Backup](rand)
	if err != nil {
		return SessionData{}, err
	}
	defer ephemeral.Wipe()
	k, err := derive(ephemeral, to)
	if err != nil {
		return SessionData{}, err
	}
	text := cbc.Seal(nil, k.block(), k.iv, plain)
	return SessionData{
		Ephemeral:  ephemeral.Public().String(),
		Ciphertext: base64text.Encode(text),
		MAC:        base64text.Encode(k.tag()),
	}, nil
}

// Open returns the session of the entry with the given session id in room. It
// refuses an entry whose key is not the one that the session id names, or that
// names another room. For an entry of the right form, every fault of the MAC,
// the padding or the session gives the same error.
func Open(k key.BackupPrivate, room quinta.RoomID, sessionID string, d SessionData) (Session, error) {
	plain, err := open(k, d)
	if err != nil {
		return Session{}, err
	}
	defer clear(plain)
	// Nothing authenticates the bytes, so what is wrong with them is told to
	// no one: it would say how an altered ciphertext decrypts.
	s, err := sessiondata.Decode(plain)
	if err != nil {
		return Session{}, ErrOpen
	}
	// Some programs write room and id inside as well.
	if s.RoomID != "" && s.RoomID != string(room) || s.SessionID != "" && s.SessionID != sessionID {
		return Session{}, ErrMismatch
	}
	s.RoomID, s.SessionID = string(room), sessionID
	if _, err := s.Check(); errors.Is(err, sessiondata.ErrMismatch) {
		return Session{}, ErrMismatch
	} else if err != nil {
		return Session{}, ErrOpen
	}
	return s, nil
}

func open(k key.BackupPrivate, d SessionData) ([]byte, error) {
	if len(d.Ciphertext) > maxEntry {
		return nil, fmt.Errorf("%w: entry too long", ErrMalformed)
	}
	ephemeral, err := key.ParseAgreementPublic[key.Backup](d.Ephemeral)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text, err := base64text.Decode(d.Ciphertext)
	if err != nil || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: ciphertext", ErrMalformed)
	}
	mac, err := base64text.Decode(d.MAC)
	if err != nil || len(mac) != macSize {
		return nil, fmt.Errorf("%w: mac", ErrMalformed)
	}
	keys, err := derive(k, ephemeral)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// The MAC covers nothing, so it is no shield for the padding: whatever is
	// wrong takes the same way and has the same error.
	plain, err := cbc.Open(keys.block(), keys.iv, text)
	if right := hmac.Equal(mac, keys.tag()); err != nil || !right {
		clear(plain)
		return nil, ErrOpen
	}
	return plain, nil
}

// keys are what seals one entry.
type keys struct{ aes, mac, iv []byte }

func derive(k key.BackupPrivate, p key.BackupPublic) (keys, error) {
	secret, err := key.Agree(k, p)
	if err != nil {
		return keys{}, err
	}
	defer clear(secret)
	b, err := hkdf.Key(sha256.New, secret, make([]byte, 32), "", 80)
	if err != nil {
		return keys{}, err
	}
	return keys{b[:32], b[32:64], b[64:]}, nil
}

func (k keys) block() cipher.Block {
	b, err := aes.NewCipher(k.aes)
	if err != nil {
		panic("keybackup: internal error: " + err.Error())
	}
	return b
}

// tag is the MAC of an entry: over the empty string, as all programs make it.
func (k keys) tag() []byte { return hmac.New(sha256.New, k.mac).Sum(nil)[:macSize] }

// RecoveryKey returns k as it is shown to its owner.
func RecoveryKey(k key.BackupPrivate) string {
	b := k.Secret()
	defer clear(b)
	return recoverykey.Encode([32]byte(b))
}

// ParseRecoveryKey reads what RecoveryKey shows. White space does not matter.
func ParseRecoveryKey(text string) (key.BackupPrivate, error) {
	b, err := recoverykey.Decode(text)
	if err != nil {
		return key.BackupPrivate{}, err
	}
	defer clear(b[:])
	return key.NewAgreementPrivate[key.Backup](b[:])
}

// AuthData is the member auth_data of a backup version.
type AuthData struct {
	PublicKey key.BackupPublic
	raw       []byte
}

// NewAuthData returns the unsigned auth_data of a new backup; sign it with
// canonicaljson.Sign.
func NewAuthData(p key.BackupPublic) []byte { return []byte(`{"public_key":"` + p.String() + `"}`) }

// ParseAuthData reads auth_data.
func ParseAuthData(raw []byte) (AuthData, error) {
	var w struct {
		PublicKey string `json:"public_key"`
	}
	if err := exactjson.Unmarshal(raw, &w); err != nil {
		return AuthData{}, fmt.Errorf("%w: auth_data", ErrMalformed)
	}
	p, err := key.ParseAgreementPublic[key.Backup](w.PublicKey)
	if err != nil {
		return AuthData{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return AuthData{PublicKey: p, raw: bytes.Clone(raw)}, nil
}

// Matches returns nil if k is the private key of the backup, and ErrUntrusted
// otherwise.
func (a AuthData) Matches(k key.BackupPrivate) error {
	if subtle.ConstantTimeCompare(k.Public().Bytes(), a.PublicKey.Bytes()) != 1 {
		return ErrUntrusted
	}
	return nil
}

// Verify returns nil if user signed the auth_data with the Ed25519 key behind
// verify, and ErrUntrusted otherwise. The key, with its id such as
// "ed25519:DEVICE", must be the user's own master key or the key of a
// verified device.
func (a AuthData) Verify(user quinta.UserID, keyID string, verify func(message, signature []byte) bool) error {
	if err := canonicaljson.Verify(a.raw, string(user), keyID, verify); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}
