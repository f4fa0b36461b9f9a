package rocketchat

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A Date is a time in Unix milliseconds; 0 is none. It reads both forms that go
// over the wire, an RFC 3339 string (REST) and {"$date":ms} (DDP), and writes the
// first.
type Date int64

// DateOf returns t as a Date.
func DateOf(t time.Time) Date { return Date(t.UnixMilli()) }

// Time returns d as a time in UTC.
func (d Date) Time() time.Time { return time.UnixMilli(int64(d)).UTC() }

// MarshalJSON implements json.Marshaler.
func (d Date) MarshalJSON() ([]byte, error) {
	return []byte(`"` + d.Time().Format("2006-01-02T15:04:05.000Z") + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Date) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '{':
		var e ejsonDate
		if err := exactjson.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("%w: malformed date", ErrMalformed)
		}
		*d = Date(e.Date)
	case len(b) > 0 && b[0] == '"':
		t, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(b))
		if err != nil {
			return fmt.Errorf("%w: malformed date", ErrMalformed)
		}
		*d = DateOf(t)
	default:
		var ms float64
		if err := exactjson.Unmarshal(b, &ms); err != nil || ms != ms || ms < -1e15 || ms > 1e15 {
			return fmt.Errorf("%w: malformed date", ErrMalformed)
		}
		*d = Date(ms)
	}
	return nil
}

// An Author is a user as messages name them. The server vouches for it, no one else.
type Author struct {
	ID   string `json:"_id"`
	Name string `json:"username,omitempty"`
}

// The types of message ("t") that this package knows.
const (
	TypeE2E     = "e2e"
	TypeLeft    = "ul"                // a member left
	TypeRemoved = "ru"                // a member was removed
	TypeJoined  = "uj"                // a user joined
	TypeAdded   = "au"                // a member added a user
	TypeDeleted = "rm"                // the message was taken back
	TypeOn      = "room_e2e_enabled"  // encryption was switched on
	TypeOff     = "room_e2e_disabled" // encryption was switched off, says the server
	TypePinned  = "message_pinned_e2e"
)

// A Message is a message as the server carries it.
type Message struct {
	ID   quinta.MessageID `json:"_id"`
	Room quinta.RoomID    `json:"rid"`
	Type string           `json:"t,omitempty"`
	// Msg is the ciphertext of the string form, or a text in clear.
	Msg     string           `json:"msg"`
	Content json.RawMessage  `json:"content,omitempty"`
	E2E     string           `json:"e2e,omitempty"`
	User    Author           `json:"u"`
	TS      Date             `json:"ts"`
	Updated Date             `json:"_updatedAt,omitzero"`
	Edited  Date             `json:"editedAt,omitzero"`
	Thread  quinta.MessageID `json:"tmid,omitempty"`
	// Reactions are in clear, by emoji.
	Reactions map[string]Reactors `json:"reactions,omitempty"`
}

// Reactors are the user names that reacted to a message with one emoji.
type Reactors struct {
	Users []string `json:"usernames"`
}

// An OldKey is a former room key, wrapped for one member.
type OldKey struct {
	KeyID string `json:"e2eKeyId"`
	TS    Date   `json:"ts"`
	Key   string `json:"E2EKey"`
}

// A RoomState is what the server says of a room and of this user's part in it.
type RoomState struct {
	ID    quinta.RoomID `json:"id"`
	Type  string        `json:"type"` // "d" direct, "p" private group, "c" channel
	Name  string        `json:"name,omitempty"`
	Topic string        `json:"topic,omitempty"`
	// Encrypted is what the server claims; once true, it stays true.
	Encrypted bool `json:"encrypted,omitempty"`
	// KeyID is the id of the room's key, "" before there is one.
	KeyID string `json:"keyId,omitempty"`
	// OwnKey is this user's wrapped copy, Suggested one that another member
	// offers, Old and SuggestedOld those of former keys.
	OwnKey       string   `json:"ownKey,omitempty"`
	Suggested    string   `json:"suggested,omitempty"`
	Old          []OldKey `json:"old,omitempty"`
	SuggestedOld []OldKey `json:"suggestedOld,omitempty"`
	// Peers are the two people of a direct conversation.
	Peers []Author `json:"peers,omitempty"`
}

// An In is what came from the server, in its order.
type In struct {
	// Version is the release that the server announces, if it was asked.
	Version string
	Rooms   []RoomState
	// Complete says that Rooms are all rooms of the user: those that are missing
	// are gone.
	Complete bool
	// Gone are rooms that this user is not in any more.
	Gone     []quinta.RoomID
	Messages []Message
	// Deleted are messages that were taken back.
	Deleted []Deleted
	// Asked says that a member asks for a room key.
	Asked bool
	// Since, if not 0, is the server's time of a catching up that is complete
	// with this input.
	Since Date
	// More says that another input is at hand.
	More bool
}

// A Deleted names a message that was taken back.
type Deleted struct {
	Room quinta.RoomID
	ID   quinta.MessageID
}

// A ReqKind says what a request asks for; it is the name of its route.
type ReqKind string

// The kinds of request.
const (
	ReqKeys        ReqKind = "e2e.fetchMyKeys"
	ReqSetKeys     ReqKind = "e2e.setUserPublicAndPrivateKeys"
	ReqRequestKeys ReqKind = "e2e.requestSubscriptionKeys"
	ReqRoom        ReqKind = "subscriptions.getOne"
	ReqSetRoomKey  ReqKind = "e2e.setRoomKeyID"
	ReqOwnRoomKey  ReqKind = "e2e.updateGroupKey"
	ReqUsers       ReqKind = "e2e.getUsersOfRoomWithoutKey"
	ReqWaiting     ReqKind = "e2e.fetchUsersWaitingForGroupKey"
	ReqProvide     ReqKind = "e2e.provideUsersSuggestedGroupKeys"
	ReqAccept      ReqKind = "e2e.acceptSuggestedGroupKey"
	ReqReject      ReqKind = "e2e.rejectSuggestedGroupKey"
	ReqReset       ReqKind = "e2e.resetRoomKey"
	ReqSend        ReqKind = "chat.sendMessage"
	ReqConfirm     ReqKind = "rooms.mediaConfirm"
	ReqUpdate      ReqKind = "chat.update"
	ReqDelete      ReqKind = "chat.delete"
	ReqReact       ReqKind = "chat.react"
)

// A Req is a request that is due. Which members are set depends on its kind.
type Req struct {
	// ID names the request on this device.
	ID   string  `json:"-"`
	Kind ReqKind `json:"kind"`

	Room  quinta.RoomID   `json:"room,omitempty"`
	Rooms []quinta.RoomID `json:"rooms,omitempty"`
	// KeyID and Key are the id and a wrapped copy of a room key.
	KeyID string `json:"keyId,omitempty"`
	Key   string `json:"key,omitempty"`
	// Public and Private are the user's public key and their sealed private one;
	// Force puts them in the place of those that are there.
	Public  string `json:"public,omitempty"`
	Private string `json:"private,omitempty"`
	Force   bool   `json:"force,omitempty"`
	// Provide are wrapped keys for members of Room, and For the fingerprints of the
	// public keys that they are wrapped for, by user: it stays on this device.
	Provide []Provided        `json:"provide,omitempty"`
	For     map[string]string `json:"for,omitempty"`
	// Message is what is sent, changed, taken back or reacted to; File the
	// upload that a ReqConfirm is for.
	Message *Message `json:"message,omitempty"`
	File    string   `json:"file,omitempty"`
	Emoji   string   `json:"emoji,omitempty"`
}

// Lane names what a request must not overtake: the others of its room.
func (r Req) Lane() string {
	if r.Room != "" {
		return string(r.Room)
	}
	return "keys"
}

// A Provided is a room key that is wrapped for one user.
type Provided struct {
	User string   `json:"_id"`
	Key  string   `json:"key"`
	Old  []OldKey `json:"oldKeys,omitempty"`
}

// A Waiting is a user who waits for a room key, with their public key.
type Waiting struct {
	User   string
	Name   string // the user name, if the server says it
	Public string
}

// The codes of refusals that the machine acts on.
const (
	CodeKeysSet       = "error-keys-already-set"
	CodeRoomKeyExists = "error-room-e2e-key-already-exists"
	CodeResetRunning  = "error-e2e-key-reset-in-progress"
	CodeNotAllowed    = "error-not-allowed"
	CodeUnauthorized  = "unauthorized"
	CodeNoSuggestion  = "error-no-suggested-key-available"
	CodeNoRoom        = "error-invalid-room"
)

// An Ans is the answer to a request.
type Ans struct {
	// Code is "" for a success; Detail is what the server says to a refusal.
	Code, Detail string
	// Public and Private answer a ReqKeys; both "" means that the server said
	// clearly that the user has none.
	Public, Private string
	// Room answers a ReqRoom; nil means that the user is not in it.
	Room *RoomState
	// Waiting answers a ReqUsers and a ReqWaiting.
	Waiting map[quinta.RoomID][]Waiting
	// Message is what a ReqSend or ReqConfirm made.
	Message *Message
}
