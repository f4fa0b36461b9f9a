package keyexport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Algorithm is the only algorithm whose sessions an export file holds.
const Algorithm = "m.megolm.v1.aes-sha2"

// A Session is the SessionData of one inbound Megolm session. It prints
// without its key.
type Session struct {
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
	fmt.Fprintf(f, "keyexport.Session(%s %s, [redacted])", s.RoomID, s.SessionID)
}

// MarshalJSON writes s without its key, so that no log shows it.
func (s Session) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// sessionData is the JSON form. The flag for shared history has had three
// names; the first two are written.
type sessionData struct {
	Algorithm         string            `json:"algorithm"`
	ForwardingChain   []string          `json:"forwarding_curve25519_key_chain"`
	RoomID            string            `json:"room_id"`
	SenderClaimedKeys map[string]string `json:"sender_claimed_keys"`
	SenderKey         string            `json:"sender_key"`
	SessionID         string            `json:"session_id"`
	SessionKey        string            `json:"session_key"`
	SharedHistory     bool              `json:"shared_history,omitempty"`
	SharedHistoryM    bool              `json:"m.shared_history,omitempty"`
	SharedHistoryOld  bool              `json:"org.matrix.msc3061.shared_history,omitempty"`
}

func encodeSessions(sessions []Session) ([]byte, error) {
	list := make([]sessionData, len(sessions))
	for i, s := range sessions {
		if s.SessionKey == "" || s.SessionID == "" || s.RoomID == "" {
			return nil, fmt.Errorf("%w: session %d has no key, id or room", ErrFormat, i)
		}
		list[i] = sessionData{
			Algorithm: Algorithm, ForwardingChain: s.ForwardingChain, RoomID: s.RoomID,
			SenderClaimedKeys: s.SenderClaimedKeys, SenderKey: s.SenderKey,
			SessionID: s.SessionID, SessionKey: s.SessionKey,
			SharedHistory: s.SharedHistory, SharedHistoryM: s.SharedHistory,
		}
		// The members are required, and null is not what others expect.
		if s.ForwardingChain == nil {
			list[i].ForwardingChain = []string{}
		}
		if s.SenderClaimedKeys == nil {
			list[i].SenderClaimedKeys = map[string]string{}
		}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("keyexport: %w", err)
	}
	return b, nil
}

func decodeSessions(plain []byte) ([]Session, int, error) {
	if !utf8.Valid(plain) {
		return nil, 0, fmt.Errorf("%w: the sessions are not UTF-8", ErrFormat)
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	if t := bytes.TrimLeft(plain, " \t\r\n"); len(t) > 0 && t[0] == '{' {
		var object struct {
			Sessions json.RawMessage `json:"sessions"`
		}
		if dec.Decode(&object) != nil || object.Sessions == nil {
			return nil, 0, fmt.Errorf("%w: no list of sessions", ErrFormat)
		}
		defer clear(object.Sessions)
		dec = json.NewDecoder(bytes.NewReader(object.Sessions))
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, 0, fmt.Errorf("%w: no list of sessions", ErrFormat)
	}
	var sessions []Session
	skipped := 0
	for dec.More() {
		if len(sessions)+skipped == MaxSessions {
			return nil, 0, ErrTooLarge
		}
		var d sessionData
		if err := dec.Decode(&d); err != nil {
			return nil, 0, fmt.Errorf("%w: session %d has another shape", ErrFormat, len(sessions)+skipped)
		}
		if d.Algorithm != Algorithm || d.SessionKey == "" || d.SessionID == "" || d.RoomID == "" {
			skipped++
			continue
		}
		sessions = append(sessions, Session{
			RoomID: d.RoomID, SessionID: d.SessionID, SessionKey: d.SessionKey, SenderKey: d.SenderKey,
			SenderClaimedKeys: d.SenderClaimedKeys, ForwardingChain: d.ForwardingChain,
			SharedHistory: d.SharedHistory || d.SharedHistoryM || d.SharedHistoryOld,
		})
	}
	if _, err := dec.Token(); err != nil {
		return nil, 0, fmt.Errorf("%w: the list of sessions does not end", ErrFormat)
	}
	return sessions, skipped, nil
}
