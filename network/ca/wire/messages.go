package wire

import (
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// The bounds of the mail drop.
const (
	// MaxMessage bounds the body of a message in bytes.
	MaxMessage = 4 << 20
	// MaxMembers bounds the members of a conversation.
	MaxMembers = 100
	// MaxDevices limits how many devices one message can be sent to.
	MaxDevices = 2000
	// MaxBackup bounds a sealed backup in bytes.
	MaxBackup = 128 << 10
	// MaxLimit bounds a page, MaxWait a long poll.
	MaxLimit = 500
	MaxWait  = 60 * time.Second
)

// Deliveries and their answers have one type for both ends and for the machine,
// from package e2ee/ca.
type (
	// A Kind says what a delivery is for, a Form what its body is.
	Kind = ca.Kind
	Form = ca.Form
	// A Target is one device.
	Target = ca.Target
	// A Deliver is PUT PathMessage, a Delivered its answer.
	Deliver   = ca.Deliver
	Delivered = ca.Delivered
	// An Item is a delivery as a recipient gets it.
	Item = ca.Item
	// A History is the answer of PathHistory.
	History = ca.History
	// A Conversation has members and one profile that never changes.
	Conversation = ca.Conversation
	// A Backup is a sealed backup of keys.
	Backup = ca.Backup
)

// The kinds of delivery. The body of KindKeys is a KeyChange.
const (
	KindMessage  = ca.KindMessage
	KindNotice   = ca.KindNotice
	KindReseal   = ca.KindReseal
	KindApproval = ca.KindApproval
	KindKeys     = ca.KindKeys
)

// The forms.
const (
	FormCMS     = ca.FormCMS
	FormSession = ca.FormSession
	FormLegacy  = ca.FormLegacy
	FormJSON    = ca.FormJSON
)

// A Mailbox is the answer of PathMailbox: what waits for this device. Next is
// where to continue, and what to acknowledge once all of it is stored.
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

// A KeyChange is the body of KindKeys.
type KeyChange struct {
	Username quinta.UserID    `json:"username"`
	Device   quinta.DeviceID  `json:"device"`
	KeyID    cert.Fingerprint `json:"keyId"`
	Use      string           `json:"use"`
	Profile  string           `json:"profile"`
	// Change is "enrolled", "renewed", "retired" or "revoked".
	Change string `json:"change"`
	// Approved says that the key took the place of an expired or revoked one
	// with the approval of another device.
	Approved bool `json:"approved,omitempty"`
}

// A ConversationRequest is PUT PathConversation. The other member of a legacy
// conversation chooses that profile by repeating the request for the existing
// conversation.
type ConversationRequest struct {
	// Members are all members; the caller may be left out.
	Members []quinta.UserID `json:"members"`
	Profile string          `json:"profile"`
}

// A MembersRequest is POST PathMembers.
type MembersRequest struct {
	Add []quinta.UserID `json:"add"`
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

// CheckConv reports whether the id of a conversation is well formed.
func CheckConv(id quinta.RoomID) bool { return ca.CheckConv(id) }

// Direct returns the id of the conversation of two users under a profile, the
// same for both; see ca.Direct.
func Direct(a, b quinta.UserID, profile string) quinta.RoomID { return ca.Direct(a, b, profile) }

// IsDirect reports whether the id is one that Direct makes; see ca.IsDirect.
func IsDirect(id quinta.RoomID) bool { return ca.IsDirect(id) }
