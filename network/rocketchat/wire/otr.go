package wire

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// Messages between the two sides of a session off the record: arguments of events of
// the stream-notify-user of the other, under the name of OTREvent.
const (
	OTRHandshake   = "handshake"
	OTRAcknowledge = "acknowledge"
	OTRDeny        = "deny"
	OTREnd         = "end"
)

// OTREvent returns the key of the stream on which a user learns of sessions.
func OTREvent(user string) string { return user + "/otr" }

// An OTRSignal is the data of such an event. User is the one who tells it, and the
// server holds them to that; Public is there in a handshake and in its acknowledgement.
type OTRSignal struct {
	Room    quinta.RoomID `json:"roomId"`
	User    string        `json:"userId"`
	Public  string        `json:"publicKey,omitempty"`
	Refresh bool          `json:"refresh,omitempty"`
}

// An OTRMessage is a message off the record on the stream of its room. Ack is there
// when the reader has acknowledged it.
type OTRMessage struct {
	ID   quinta.MessageID  `json:"_id"`
	Room quinta.RoomID     `json:"rid"`
	Type string            `json:"t"`
	Msg  string            `json:"msg"`
	User rocketchat.Author `json:"u"`
	TS   rocketchat.Date   `json:"ts"`
	Ack  string            `json:"otrAck,omitempty"`
}
