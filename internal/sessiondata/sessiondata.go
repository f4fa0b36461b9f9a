// Package sessiondata implements the JSON form of one Megolm session that key
// exports, key backups and key bundles of Matrix share (SessionData and
// BackedUpSessionData of the client-server API).
//
// Nothing in that format proves where the session came from. [Session.Check]
// proves only that the key is the one that the session id names.
package sessiondata

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// Algorithm is the only algorithm of sessions in this form.
const Algorithm = "m.megolm.v1.aes-sha2"

// keySize is the length of a session in the export format: the version 1, a
// 32-bit index, the ratchet and the Ed25519 key.
const keySize = 1 + 4 + 128 + 32

// Errors of this package. None holds any part of what was read.
var (
	// ErrMalformed: the text is not a session in this form.
	ErrMalformed = errors.New("not valid session data")
	// ErrAlgorithm: the session is of another algorithm.
	ErrAlgorithm = errors.New("session data of an unsupported algorithm")
	// ErrMismatch: the key is not the one that the session id or room names.
	ErrMismatch = errors.New("session data does not belong to its session id or room")
)

// A Session is one inbound Megolm session. It prints without its key.
type Session struct {
	// RoomID and SessionID are empty in a backup entry, which has them
	// outside.
	RoomID    string
	SessionID string
	// SessionKey is the session in the export format (165 bytes) as unpadded
	// base64, a secret.
	SessionKey string
	// SenderKey is the Curve25519 key of the device that made the session.
	SenderKey string
	// SenderClaimedKeys are the other keys that the device claims, by
	// algorithm; "ed25519" is required.
	SenderClaimedKeys map[string]string
	// ForwardingChain holds the Curve25519 keys of the devices that forwarded
	// the session.
	ForwardingChain []string
	// SharedHistory says that the session may be given to members who join
	// later.
	SharedHistory bool

	_ [0]func() // not comparable with ==
}

// Format prints s without its key, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session(%s %s, [redacted])", s.RoomID, s.SessionID)
}

// MarshalJSON writes s without its key, so that no log shows it; use Encode.
func (s Session) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// wire is the JSON form. The flag for shared history has had three names; the
// first two are written.
type wire struct {
	Algorithm         string            `json:"algorithm"`
	ForwardingChain   []string          `json:"forwarding_curve25519_key_chain"`
	RoomID            string            `json:"room_id,omitempty"`
	SenderClaimedKeys map[string]string `json:"sender_claimed_keys"`
	SenderKey         string            `json:"sender_key"`
	SessionID         string            `json:"session_id,omitempty"`
	SessionKey        string            `json:"session_key"`
	SharedHistory     bool              `json:"shared_history,omitempty"`
	SharedHistoryM    bool              `json:"m.shared_history,omitempty"`
	SharedHistoryOld  bool              `json:"org.matrix.msc3061.shared_history,omitempty"`
}

// Encode returns the JSON of s with its key. The caller wipes it.
func (s Session) Encode() []byte {
	w := wire{
		Algorithm: Algorithm, ForwardingChain: s.ForwardingChain, RoomID: s.RoomID,
		SenderClaimedKeys: s.SenderClaimedKeys, SenderKey: s.SenderKey,
		SessionID: s.SessionID, SessionKey: s.SessionKey,
		SharedHistory: s.SharedHistory, SharedHistoryM: s.SharedHistory,
	}
	// These members are required, and null is not what others expect.
	if w.ForwardingChain == nil {
		w.ForwardingChain = []string{}
	}
	if w.SenderClaimedKeys == nil {
		w.SenderClaimedKeys = map[string]string{}
	}
	b, err := json.Marshal(w)
	if err != nil {
		panic("sessiondata: internal error: " + err.Error())
	}
	return b
}

// Decode reads the JSON of one session. It requires the algorithm and a key.
func Decode(raw []byte) (Session, error) {
	var w wire
	if err := exactjson.Unmarshal(raw, &w); err != nil {
		return Session{}, ErrMalformed
	}
	if w.Algorithm != Algorithm {
		return Session{}, ErrAlgorithm
	}
	if w.SessionKey == "" {
		return Session{}, ErrMalformed
	}
	return Session{
		RoomID: w.RoomID, SessionID: w.SessionID, SessionKey: w.SessionKey, SenderKey: w.SenderKey,
		SenderClaimedKeys: w.SenderClaimedKeys, ForwardingChain: w.ForwardingChain,
		SharedHistory: w.SharedHistory || w.SharedHistoryM || w.SharedHistoryOld,
	}, nil
}

// Check reports whether the Ed25519 key inside the session key is the session
// id, and returns the first message index that the session can open.
func (s Session) Check() (firstIndex uint32, err error) {
	if base64.StdEncoding.DecodedLen(len(s.SessionKey)) > keySize+3 {
		return 0, ErrMalformed
	}
	raw, err := base64text.DecodeSecret(s.SessionKey)
	if err != nil || len(raw) != keySize || raw[0] != 1 {
		return 0, ErrMalformed
	}
	defer clear(raw)
	if base64text.Encode(raw[keySize-32:]) != s.SessionID {
		return 0, ErrMismatch
	}
	return binary.BigEndian.Uint32(raw[1:]), nil
}
