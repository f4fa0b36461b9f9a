package eventauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// NewID returns the id of e in a room of version v. From version 3 it is the
// reference hash of e (Matrix room versions 3 and 4, "Event IDs"). Before, it
// is made from random, 16 random bytes, and the server of e's sender.
func NewID(v Version, e *Event, random [16]byte) (string, error) {
	if v < sinceHashID {
		return "$" + base64.RawURLEncoding.EncodeToString(random[:]) + ":" + Domain(e.Sender), nil
	}
	sum, err := referenceHash(v, e)
	if err != nil {
		return "", err
	}
	if v < sinceURLSafeID {
		return "$" + base64.RawStdEncoding.EncodeToString(sum[:]), nil
	}
	return "$" + base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// RoomIDOf returns the id of the room that the m.room.create with the event
// id createID opens (room version 12, "Room IDs as hashes of the create
// event").
func RoomIDOf(createID string) string {
	if createID == "" {
		return ""
	}
	return "!" + createID[1:]
}

// referenceHash is SHA-256 of the redacted event (server-server API,
// "Calculating the reference hash for an event").
func referenceHash(v Version, e *Event) ([sha256.Size]byte, error) {
	full, err := encode(v, e, e.Content, nil)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	hash := sha256.Sum256(full)
	content, err := Redact(v, e.Type, e.Content)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	bare := *e
	if v < sinceSenderCreates {
		bare.Redacts = "" // not among the protected members of the event
	}
	small, err := encode(v, &bare, content, hash[:])
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(small), nil
}

// encode returns the canonical JSON of e with the given content, without
// signatures, and without hashes if contentHash is nil.
func encode(v Version, e *Event, content json.RawMessage, contentHash []byte) ([]byte, error) {
	m := map[string]any{
		"type": e.Type, "sender": e.Sender, "content": content, "depth": e.Depth,
		"origin_server_ts": e.OriginServerTS,
		"prev_events":      list(e.PrevEvents), "auth_events": list(e.AuthEvents),
	}
	if e.RoomID != "" && (e.Type != TypeCreate || !v.RoomIDFromCreate()) {
		m["room_id"] = e.RoomID
	}
	if e.StateKey != nil {
		m["state_key"] = *e.StateKey
	}
	if e.Redacts != "" && !v.RedactsInContent() {
		m["redacts"] = e.Redacts
	}
	if contentHash != nil {
		m["hashes"] = map[string]string{"sha256": base64.RawStdEncoding.EncodeToString(contentHash)}
	}
	raw, err := canonicaljson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("eventauth: encoding the event: %w", err)
	}
	return raw, nil
}

func list(ids []string) []string {
	if ids == nil {
		return []string{}
	}
	return ids
}
