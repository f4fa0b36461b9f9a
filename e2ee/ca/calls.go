package ca

import (
	"encoding/json"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// A ReqKind says which call of the server a request is.
type ReqKind string

// The kinds of request. In brackets: what of Req is set, and what of Ans on
// success.
const (
	// ReqRoots asks for the trust anchors. [-> Roots]
	ReqRoots ReqKind = "roots"
	// ReqCRL asks for the revocation list. [-> CRL]
	ReqCRL ReqKind = "crl"
	// ReqEnrol enrols a key of this device. [Enrol -> Key]
	ReqEnrol ReqKind = "enrol"
	// ReqNonce asks for the nonce of a renewal. [Key -> Nonce]
	ReqNonce ReqKind = "nonce"
	// ReqRenew renews a key of this device. [Key, Renew -> Key]
	ReqRenew ReqKind = "renew"
	// ReqRetire ends the grace of a key of this device. [Key -> Key]
	ReqRetire ReqKind = "retire"
	// ReqRevoke revokes a key of any device of this user. [Key, Reason -> Key]
	ReqRevoke ReqKind = "revoke"
	// ReqApprove approves a key of another device of this user.
	// [Key, Approval]
	ReqApprove ReqKind = "approve"
	// ReqKeys asks for the keys of all devices of a user. [User -> Keys]
	ReqKeys ReqKind = "keys"
	// ReqConversations asks for the conversations of this user.
	// [-> Conversations]
	ReqConversations ReqKind = "conversations"
	// ReqConversation asks for one conversation. [Conv -> Conversation]
	ReqConversation ReqKind = "conversation"
	// ReqPutConversation makes a conversation or chooses its profile.
	// [Conv, Members, Profile -> Conversation]
	ReqPutConversation ReqKind = "put-conversation"
	// ReqMembers adds members. [Conv, Members -> Conversation]
	ReqMembers ReqKind = "members"
	// ReqLeave takes this user out of a conversation. [Conv]
	ReqLeave ReqKind = "leave"
	// ReqMessage delivers a message. [Conv, Message, Deliver -> Delivered]
	ReqMessage ReqKind = "message"
	// ReqHistory asks for messages of a conversation, newest first.
	// [Conv, Before, Limit -> History]
	ReqHistory ReqKind = "history"
	// ReqAck acknowledges the mailbox. [UpTo]
	ReqAck ReqKind = "ack"
	// ReqBackup asks for the sealed backup; that there is none is the code
	// "not-found". [-> Backup]
	ReqBackup ReqKind = "backup"
	// ReqPutBackup stores the sealed backup. [Backup -> Backup]
	ReqPutBackup ReqKind = "put-backup"
)

// A Req is one call of the server. It is repeated with the same members until
// its answer came; a call that was carried out and is repeated has no further
// effect.
type Req struct {
	// ID names the request within this device.
	ID   string
	Kind ReqKind

	// Key is the fingerprint of the key that the call is about.
	Key string
	// User is whose keys are looked up.
	User quinta.UserID
	// Conv and Message name the conversation and the delivery.
	Conv    quinta.RoomID
	Message quinta.MessageID
	// Members are those of a new conversation, this user left out, or those to
	// add.
	Members []quinta.UserID
	Profile string
	// Reason is that of a revocation; see Reasons.
	Reason string
	// UpTo is the position to acknowledge, Before the one from which history
	// goes back (zero: from the end), Limit how many messages are asked for.
	UpTo, Before quinta.Pos
	Limit        int

	Enrol    *Enrol
	Renew    *Renew
	Approval *cert.Approval
	Deliver  *Deliver
	Backup   *Backup
}

// An Enrol is a request to enrol a key.
type Enrol struct {
	Profile string `json:"profile"`
	// Use is empty in the legacy profile.
	Use cert.Use `json:"use,omitempty"`
	// PublicKey is SubjectPublicKeyInfo in DER, in the legacy profile only.
	PublicKey []byte `json:"publicKey,omitempty"`
	// Expires is set in the legacy profile only.
	Expires *time.Time `json:"expires,omitempty"`
	// Pop is the PKCS #10 request in DER, in the secure profile only.
	Pop []byte `json:"pop,omitempty"`
}

// A Renew is a renewal: of the legacy profile PublicKey, Signature and Expires,
// of the secure one CSR and the statement with its signatures.
type Renew struct {
	PublicKey []byte     `json:"publicKey,omitempty"`
	Signature []byte     `json:"signature,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`

	CSR              []byte          `json:"csr,omitempty"`
	RenewalStatement json.RawMessage `json:"renewalStatement,omitempty"`
	OldSignature     []byte          `json:"oldSignature,omitempty"`
	NewSignature     []byte          `json:"newSignature,omitempty"`
}

// A Kind says what a delivery is for.
type Kind string

// The kinds of delivery.
const (
	// KindMessage is what somebody said.
	KindMessage Kind = "message"
	// KindNotice tells the sender of messages that no device could read them.
	KindNotice Kind = "notice"
	// KindReseal is an older message, sealed again for devices that could not
	// open it.
	KindReseal Kind = "reseal"
	// KindApproval brings keys from an old device of a user to a new one.
	KindApproval Kind = "approval"
	// KindKeys is the server's word that keys have changed; its body is JSON.
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

// A Deliver is a sealed delivery on its way out.
type Deliver struct {
	Kind Kind   `json:"kind"`
	Form Form   `json:"form"`
	Body []byte `json:"body"`
	// Keys are the ids of all keys that the body is sealed for, in order.
	Keys []string `json:"keys"`
	// Only, if not empty, are the devices that it goes to.
	Only []Target `json:"only,omitempty"`
	// Withheld are the ids of valid keys that the body is not sealed for on
	// purpose: the user does not trust their devices.
	Withheld []string `json:"withheld,omitempty"`
}

// A Backup is a sealed backup and its version, which the server gives. On the
// way out Tag is the version that is replaced, empty for none.
type Backup struct {
	Sealed json.RawMessage `json:"sealed"`
	Tag    string          `json:"tag,omitempty"`
}

// The codes of refusals that a machine tells apart; all others mean that the
// call was refused for good.
const (
	CodeUndelivered = "undelivered"
	CodeStaleKeys   = "stale-keys"
	CodeConflict    = "conflict"
	CodeNotFound    = "not-found"
	CodeNotChosen   = "not-chosen"
	CodeNonce       = "nonce"
	CodeState       = "state"
	CodeApproval    = "approval"
	CodeInternal    = "internal"
)

// An Ans is the answer to a request. An empty Code is success.
type Ans struct {
	// Code is the code of a refusal and Detail its sentence for people.
	Code, Detail string
	// Missing and Stale come with CodeStaleKeys.
	Missing, Stale []string

	Roots         *Roots
	CRL           []byte // DER
	Key           *KeyInfo
	Nonce         string
	Keys          *KeyList
	Conversation  *Conversation
	Conversations []Conversation
	Delivered     *Delivered
	History       *History
	Backup        *Backup
}

// Roots are the anchors as the server gives them.
type Roots struct {
	Domain string `json:"domain"`
	// Roots and Intermediates are certificates in DER.
	Roots         [][]byte `json:"roots"`
	Intermediates [][]byte `json:"intermediates"`
	// Grace is for how long a renewed key to decrypt with is kept, in seconds.
	Grace int64 `json:"grace"`
}

// A KeyInfo is what the authority says of one key.
type KeyInfo struct {
	User      quinta.UserID   `json:"user"`
	Device    quinta.DeviceID `json:"device"`
	ID        string          `json:"id"`
	Use       string          `json:"use"`
	Profile   string          `json:"profile"`
	PublicKey []byte          `json:"publicKey,omitempty"`
	NotBefore time.Time       `json:"notBefore"`
	Expires   time.Time       `json:"expires"`
	// State is "pending", "active", "grace", "retired", "expired" or
	// "revoked".
	State string `json:"state"`
	// Replaces is the key that this one renewed, by the server's word, and
	// Renewal the proof of it.
	Replaces string        `json:"replaces,omitempty"`
	Renewal  *cert.Renewal `json:"renewal,omitempty"`
	// Cert is the certificate in DER; absent in the legacy profile.
	Cert []byte `json:"cert,omitempty"`
}

// The states of a key.
const (
	statePending = "pending"
	stateActive  = "active"
	stateGrace   = "grace"
	stateRevoked = "revoked"
)

// A KeyList is what the authority says of the keys of all devices of a user.
type KeyList struct {
	User quinta.UserID
	Keys []KeyInfo
}

// A Conversation is a conversation by the server's word.
type Conversation struct {
	Conv    quinta.RoomID
	Profile string
	Members []quinta.UserID
	// Chosen are the members who chose the legacy profile.
	Chosen []quinta.UserID
}

// A Delivered is the server's word that a message is durable.
type Delivered struct {
	Pos      quinta.Pos
	Received time.Time
}

// A History is a page of a conversation, newest first. Before is where to go
// on; zero at the end.
type History struct {
	Items  []Item
	Before quinta.Pos
}

// An Item is a delivery as a device gets it.
type Item struct {
	Pos  quinta.Pos       `json:"pos"`
	Kind Kind             `json:"kind"`
	Form Form             `json:"form"`
	Conv quinta.RoomID    `json:"conv,omitempty"`
	ID   quinta.MessageID `json:"id,omitempty"`
	// From and Device are the sender by the server's word.
	From   quinta.UserID   `json:"from,omitempty"`
	Device quinta.DeviceID `json:"device,omitempty"`
	// Received is when the server took it in, by its word.
	Received time.Time `json:"received"`
	Body     []byte    `json:"body"`
}

// An In is one page of the mailbox.
type In struct {
	// After is the position that the page was asked from ([Machine.Since]), and
	// Next where to go on.
	After, Next quinta.Pos
	Items       []Item
}
