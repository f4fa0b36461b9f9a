package wire

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

// The bounds of the mail drop.
const (
	// MaxMessage bounds the body of a message in bytes.
	MaxMessage = 4 << 20
	// MaxMembers bounds the members of a conversation.
	MaxMembers = 100
	// MaxDevices bounds to how many devices one message goes.
	MaxDevices = 2000
	// MaxBackup bounds a sealed backup in bytes.
	MaxBackup = 128 << 10
	// MaxLimit bounds a page, MaxWait a long poll.
	MaxLimit = 500
	MaxWait  = 60 * time.Second
)

// A Kind says what a delivery is for. Only messages stand in the history.
type Kind string

// The kinds of delivery.
const (
	// KindMessage is what somebody said.
	KindMessage Kind = "message"
	// KindNotice tells the sender of messages that no valid device could read
	// them: a message of its own, signed and sealed for his devices.
	KindNotice Kind = "notice"
	// KindReseal is an older message, its signature untouched, sealed again for
	// devices that could not open it.
	KindReseal Kind = "reseal"
	// KindApproval goes from an old device of a user to a new one.
	KindApproval Kind = "approval"
	// KindKeys comes from the server and says that keys have changed; its body
	// is a KeyChange in JSON.
	KindKeys Kind = "keys"
)

// A Form says what the body of a delivery is.
type Form string

// The forms.
const (
	// FormCMS is a message of the secure profile in DER.
	FormCMS Form = "cms"
	// FormSession is a packet of session mode.
	FormSession Form = "session"
	// FormLegacy is a message of the legacy profile in JSON.
	FormLegacy Form = "legacy"
	// FormJSON is the server's own word.
	FormJSON Form = "json"
)

// A Target is one device.
type Target struct {
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
}

// A Deliver is PUT PathMessage.
type Deliver struct {
	Kind Kind `json:"kind"`
	Form Form `json:"form"`
	// Body is the sealed message.
	Body []byte `json:"body"`
	// Keys are the ids of all keys that the body is sealed for. A message must
	// be sealed for every device of every member that has a key to encrypt to,
	// besides the sending device: else CodeStaleKeys, and nothing is delivered.
	Keys []string `json:"keys"`
	// Withheld are ids of keys that the sender leaves out on purpose, such as
	// that of a device which the user rejected: they are not missing.
	Withheld []string `json:"withheld,omitempty"`
	// Only, if not empty, are the devices that a delivery of another kind than
	// KindMessage goes to; without it it goes to those that Keys are of.
	Only []Target `json:"only,omitempty"`
}

// A Delivered is the answer of PathMessage, given when the message is durable.
type Delivered struct {
	Pos      quinta.Pos `json:"pos"`
	Received time.Time  `json:"received"`
}

// An Item is a delivery as a recipient gets it.
type Item struct {
	Pos  quinta.Pos       `json:"pos"`
	Kind Kind             `json:"kind"`
	Form Form             `json:"form"`
	Conv quinta.RoomID    `json:"conv,omitempty"`
	ID   quinta.MessageID `json:"id,omitempty"`
	// From and Device are the sender by the server's word.
	From   quinta.UserID   `json:"from,omitempty"`
	Device quinta.DeviceID `json:"device,omitempty"`
	// Received is when the server took it in.
	Received time.Time `json:"received"`
	Body     []byte    `json:"body"`
}

// A Mailbox is the answer of PathMailbox: what waits for this device. Next is
// where to go on, and what to acknowledge once all of it is stored.
type Mailbox struct {
	Items []Item     `json:"items"`
	Next  quinta.Pos `json:"next"`
	More  bool       `json:"more"`
}

// An AckRequest is POST PathAck: all up to UpTo is stored and is not
// delivered to this device again.
type AckRequest struct {
	UpTo quinta.Pos `json:"upTo"`
}

// A History is the answer of PathHistory: messages of a conversation since the
// caller joined it, newest first. Before is where to go on; zero at the end.
type History struct {
	Messages []Item     `json:"messages"`
	Before   quinta.Pos `json:"before"`
}

// A KeyChange is the body of KindKeys.
type KeyChange struct {
	Username quinta.UserID   `json:"username"`
	Device   quinta.DeviceID `json:"device"`
	KeyID    string          `json:"keyId"`
	Use      string          `json:"use"`
	Profile  string          `json:"profile"`
	// Change is "enrolled", "renewed", "retired" or "revoked".
	Change string `json:"change"`
	// Approved says that the key took the place of an expired or revoked one
	// with the approval of another device.
	Approved bool `json:"approved,omitempty"`
}

// A ConversationRequest is PUT PathConversation. To put a conversation that
// exists, with the same profile, is what the other member of a legacy one does
// to choose that profile.
type ConversationRequest struct {
	// Members are all members; the caller may be left out.
	Members []quinta.UserID `json:"members"`
	Profile string          `json:"profile"`
}

// A MembersRequest is POST PathMembers.
type MembersRequest struct {
	Add []quinta.UserID `json:"add"`
}

// A Conversation has members and one profile for ever.
type Conversation struct {
	Conv    quinta.RoomID   `json:"conv"`
	Profile string          `json:"profile"`
	Creator quinta.UserID   `json:"creator"`
	Created time.Time       `json:"created"`
	Members []quinta.UserID `json:"members"`
	// Chosen are the members who chose the legacy profile; nothing is
	// delivered before all have.
	Chosen []quinta.UserID `json:"chosen,omitempty"`
}

// A ConversationList is the answer of PathConversations.
type ConversationList struct {
	Conversations []Conversation `json:"conversations"`
}

// A FileInfo is the answer of PathFiles.
type FileInfo struct {
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 []byte `json:"sha256"`
}

// A Backup is a sealed backup of keys (e2ee/ca.SealBackup).
type Backup struct {
	Sealed json.RawMessage `json:"sealed"`
	// Tag is the version, given by the server. In a PUT it is the version that
	// is replaced, empty for none; another one is CodeConflict.
	Tag string `json:"tag,omitempty"`
}

// convForm is a conversation's id: chosen by the client that makes it.
var convForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)

// CheckConv reports whether an id of a conversation has its form.
func CheckConv(id quinta.RoomID) bool { return convForm.MatchString(string(id)) }

// directPrefix begins the ids of conversations of two.
const directPrefix = "d_"

// Direct returns the id of the conversation of two users under a profile, the
// same for both; see ca.Direct.
func Direct(a, b quinta.UserID, profile string) quinta.RoomID { return ca.Direct(a, b, profile) }

// IsDirect reports whether the id is one that Direct makes; the members must
// then be just the two that it is made of.
func IsDirect(id quinta.RoomID) bool { return strings.HasPrefix(string(id), directPrefix) }
