package keyexport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/sessiondata"
)

// A Session is the SessionData of one inbound Megolm session: RoomID,
// SessionID, SessionKey (export format, base64), SenderKey,
// SenderClaimedKeys, ForwardingChain and SharedHistory. It prints without its
// key.
type Session = sessiondata.Session

func encodeSessions(sessions []Session) ([]byte, error) {
	out := []byte{'['}
	for i, s := range sessions {
		if s.SessionKey == "" || s.SessionID == "" || s.RoomID == "" {
			return nil, fmt.Errorf("%w: session %d has no key, id or room", ErrFormat, i)
		}
		if i > 0 {
			out = append(out, ',')
		}
		one := s.Encode()
		out = append(out, one...)
		clear(one)
	}
	return append(out, ']'), nil
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
		if exactjson.Unmarshal(plain, &object) != nil || object.Sessions == nil {
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
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, 0, fmt.Errorf("%w: session %d is not JSON", ErrFormat, len(sessions)+skipped)
		}
		s, err := sessiondata.Decode(raw)
		clear(raw)
		switch {
		case errors.Is(err, sessiondata.ErrAlgorithm):
			skipped++
		case err != nil || s.SessionID == "" || s.RoomID == "":
			return nil, 0, fmt.Errorf("%w: session %d has the wrong shape", ErrFormat, len(sessions)+skipped)
		default:
			sessions = append(sessions, s)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, 0, fmt.Errorf("%w: the list of sessions is endless", ErrFormat)
	}
	return sessions, skipped, nil
}
