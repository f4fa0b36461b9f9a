package wire

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
)

// A Backup is the body of a call that makes or changes a version of the key
// backup. Version may be named in a change.
type Backup struct {
	Algorithm string          `json:"algorithm"`
	Auth      json.RawMessage `json:"auth_data"`
	Version   string          `json:"version,omitempty"`
}

// A BackupVersion is a key backup as the server describes it.
type BackupVersion struct {
	Backup
	BackupCount
}

// A BackupCount says how many keys are in a backup. Etag changes with them; it
// is the answer of the calls that change keys.
type BackupCount struct {
	Count int64  `json:"count"`
	Etag  string `json:"etag"`
}

// A BackupMade is the answer of "POST /room_keys/version".
type BackupMade struct {
	Version string `json:"version"`
}

// RoomKeys is the body of room_keys/keys. E is the form of one entry.
type RoomKeys[E any] struct {
	Rooms map[quinta.RoomID]SessionKeys[E] `json:"rooms"`
}

// SessionKeys are the entries of one room, by the id of the session.
type SessionKeys[E any] struct {
	Sessions map[string]E `json:"sessions"`
}
