package wire

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
)

// The presets of a new room (client-server API, "POST /createRoom").
const (
	PresetPrivate = "private_chat"
	PresetTrusted = "trusted_private_chat"
	PresetPublic  = "public_chat"
)

// A NewRoom is the body of "POST /createRoom".
type NewRoom struct {
	Visibility string          `json:"visibility,omitempty"`
	AliasName  string          `json:"room_alias_name,omitempty"`
	Name       *string         `json:"name,omitempty"`
	Topic      *string         `json:"topic,omitempty"`
	Invite     []quinta.UserID `json:"invite,omitempty"`
	Invite3PID []any           `json:"invite_3pid,omitempty"`
	Version    *string         `json:"room_version,omitempty"`
	Create     json.RawMessage `json:"creation_content,omitempty"`
	Initial    []InitialEvent  `json:"initial_state,omitempty"`
	Preset     string          `json:"preset,omitempty"`
	Direct     bool            `json:"is_direct,omitempty"`
	Levels     json.RawMessage `json:"power_level_content_override,omitempty"`
}

// An InitialEvent is one of the initial_state of a new room.
type InitialEvent struct {
	Type    *string         `json:"type"`
	Key     string          `json:"state_key"`
	Content json.RawMessage `json:"content"`
}

// A RoomAnswer is the answer of what makes or joins a room.
type RoomAnswer struct {
	Room quinta.RoomID `json:"room_id"`
}

// An EventAnswer is the answer of what sends an event.
type EventAnswer struct {
	Event quinta.MessageID `json:"event_id"`
}

// An EventAt is the answer of "GET /rooms/{roomId}/timestamp_to_event". Time is
// in Unix milliseconds.
type EventAt struct {
	EventAnswer
	Time int64 `json:"origin_server_ts"`
}

// A MemberChange is the body of the calls that change a membership: User is
// missing where it is the caller's own.
type MemberChange struct {
	User   *quinta.UserID `json:"user_id,omitempty"`
	Reason *string        `json:"reason,omitempty"`
}

// Messages is the answer of "GET /rooms/{roomId}/messages". E is the form of
// an event: the server writes Event, a client reads events one by one.
type Messages[E any] struct {
	Start string `json:"start"`
	End   string `json:"end,omitempty"`
	Chunk []E    `json:"chunk"`
	State []E    `json:"state,omitzero"`
}
