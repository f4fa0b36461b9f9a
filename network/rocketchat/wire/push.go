package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// The kinds of push, and the message type of one with a ciphertext.
const (
	PushMessage = "message"         // with the message in it
	PushID      = "message-id-only" // the message is fetched with push.get
)

// MaxPush bounds the payload of a push that is read, in bytes.
const MaxPush = 2 * rocketchat.MaxContent

// A Push is the payload of a push notification. One of the kind PushID has a Host and a
// MessageID alone. One of the kind PushMessage carries the ciphertext of a message, and
// never a text.
type Push struct {
	Host        string           `json:"host"`
	MessageID   quinta.MessageID `json:"messageId"`
	Kind        string           `json:"notificationType"`
	Room        quinta.RoomID    `json:"rid,omitempty"`
	Sender      *PushSender      `json:"sender,omitempty"`
	SenderName  string           `json:"senderName,omitempty"`
	Type        string           `json:"type,omitempty"` // of the room
	Name        string           `json:"name,omitempty"` // of the room
	MessageType string           `json:"messageType,omitempty"`
	Thread      quinta.MessageID `json:"tmid,omitempty"`
	Msg         string           `json:"msg,omitempty"`
	Content     json.RawMessage  `json:"content,omitempty"`
}

// A PushSender is the author of a pushed message.
type PushSender struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	Name     string `json:"name,omitempty"`
}

// ParsePush reads a payload: the JSON object itself, or the object {"ejson": "..."}
// in which gateways hand it to apps.
func ParsePush(raw []byte) (p Push, err error) {
	bad := func(what string) (Push, error) {
		return Push{}, fmt.Errorf("%w: a push %s", rocketchat.ErrMalformed, what)
	}
	if len(raw) > MaxPush {
		return bad("that is too large")
	}
	var wrapped struct {
		EJSON string `json:"ejson"`
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &wrapped) != nil {
		return bad("that is not a JSON object")
	}
	if wrapped.EJSON != "" {
		raw = []byte(wrapped.EJSON)
	}
	if json.Unmarshal(raw, &p) != nil {
		return bad("whose members have other types")
	}
	switch {
	case p.MessageID == "" || len(p.MessageID) > 128:
		return bad("without the id of a message")
	case p.Kind == PushID:
	case p.Kind != PushMessage:
		return bad("of another kind")
	case p.Room == "" || p.Sender == nil || p.Sender.ID == "":
		return bad("without a room or a sender")
	}
	return p, nil
}

// Message returns the message that a push of the kind PushMessage carries.
func (p *Push) Message() rocketchat.Message {
	m := rocketchat.Message{ID: p.MessageID, Room: p.Room, Type: p.MessageType, Msg: p.Msg, Content: p.Content, Thread: p.Thread}
	if p.Sender != nil {
		m.User = rocketchat.Author{ID: p.Sender.ID, Name: p.Sender.Username}
	}
	return m
}

// A Notification is what an app shows.
type Notification struct {
	Title   string `json:"title"`
	Text    string `json:"text"`
	Payload Push   `json:"payload"`
}
