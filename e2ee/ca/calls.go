package ca

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// A ReqKind says which server call a request is.
type ReqKind string

// The kinds of request. In brackets: the members of Req that are set, and
// those of Ans on success.
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
	// ReqLeave removes this user from a conversation. [Conv]
	ReqLeave ReqKind = "leave"
	// ReqMessage delivers a message. [Conv, Message, Deliver -> Delivered]
	ReqMessage ReqKind = "message"
	// ReqHistory asks for messages of a conversation, newest first.
	// [Conv, Before, Limit -> History]
	ReqHistory ReqKind = "history"
	// ReqAck acknowledges the mailbox. [UpTo]
	ReqAck ReqKind = "ack"
	// ReqBackup asks for the sealed backup; if there is none, the code is
	// "not-found". [-> Backup]
	ReqBackup ReqKind = "backup"
	// ReqPutBackup stores the sealed backup. [Backup -> Backup]
	ReqPutBackup ReqKind = "put-backup"
)

// A Req is one call of the server. It is repeated with the same members until
// it is answered; repeating a call that was carried out has no further
// effect.
type Req struct {
	// ID names the request within this device.
	ID   string
	Kind ReqKind

	// Key is the fingerprint of the key that the call is about.
	Key cert.Fingerprint
	// User is the user whose keys are looked up.
	User quinta.UserID
	// Conv and Message name the conversation and the delivery.
	Conv    quinta.RoomID
	Message quinta.MessageID
	// Members are the members of a new conversation without this user, or
	// those to add.
	Members []quinta.UserID
	Profile string
	// Reason is the reason for a revocation; see Reasons.
	Reason string
	// UpTo is the position to acknowledge, Before the position from which
	// history goes back (zero: from the end), and Limit the number of
	// messages to return.
	UpTo, Before quinta.Pos
	Limit        int

	Enrol    *Enrol
	Renew    *Renew
	Approval *cert.Approval
	Deliver  *Deliver
	Backup   *Backup
}

// Lane names what the call must not overtake: what this device says in one
// conversation keeps its order, as do the calls about one key. All others
// may overtake each other, unless they are of the same kind and about the
// same thing.
func (r Req) Lane() string {
	switch r.Kind {
	case ReqMessage, ReqPutConversation, ReqMembers, ReqLeave:
		return "conversation " + string(r.Conv)
	case ReqEnrol, ReqNonce, ReqRenew, ReqRetire, ReqRevoke, ReqApprove:
		return "key " + string(r.Key)
	}
	return strings.Join([]string{string(r.Kind), string(r.User), string(r.Conv)}, " ")
}

// An Enrol is a request to enrol a key.
type Enrol struct {
	// Username and Device must be the caller's own; empty means these.
	Username quinta.UserID   `json:"username,omitempty"`
	Device   quinta.DeviceID `json:"device,omitempty"`
	Profile  string          `json:"profile"`
	// Use is what the key is for; empty in the legacy profile.
	Use cert.Use `json:"use,omitempty"`
	// PublicKey is the key as SubjectPublicKeyInfo in DER. It may be omitted
	// if Pop contains it.
	PublicKey []byte `json:"publicKey,omitempty"`
	// Expires is when the validity of the key is to end: required in the
	// legacy profile; in the secure one at most 90 days ahead, and 30 days if
	// absent.
	Expires *time.Time `json:"expires,omitempty"`
	// Pop is the proof of possession: a PKCS #10 request in DER. It is required
	// in the secure profile and not used in the legacy one.
	Pop []byte `json:"pop,omitempty"`
}

// A Renew is a renewal: in the legacy profile, PublicKey, Signature and
// Expires; in the secure profile, CSR and the statement with its signatures
// ([cert.Renewal]).
type Renew struct {
	PublicKey []byte     `json:"publicKey,omitempty"`
	Signature []byte     `json:"signature,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`

	CSR              []byte          `json:"csr,omitempty"`
	RenewalStatement json.RawMessage `json:"renewalStatement,omitempty"`
	OldSignature     []byte          `json:"oldSignature,omitempty"`
	NewSignature     []byte          `json:"newSignature,omitempty"`
}

// A Kind says what a delivery is for. Only messages are kept in the history.
type Kind string

// The kinds of delivery.
const (
	// KindMessage is a message of a user.
	KindMessage Kind = "message"
	// KindNotice tells the sender of messages that no device could read them: a
	// message of its own, signed and sealed for the sender's devices.
	KindNotice Kind = "notice"
	// KindReseal is an older message, its signature untouched, sealed again for
	// devices that could not open it.
	KindReseal Kind = "reseal"
	// KindApproval brings keys from an old device of a user to a new one.
	KindApproval Kind = "approval"
	// KindKeys is the server's claim that keys have changed; its body is JSON.
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
	// FormJSON is a notice of the server itself, in JSON.
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
	// Keys are the ids of all keys that the body is sealed for, in order. A
	// message must be sealed for every device of every member that has an
	// encryption key, except the sending device; otherwise the answer is
	// CodeStaleKeys, and nothing is delivered.
	Keys []cert.Fingerprint `json:"keys"`
	// Only, if not empty, are the devices that a delivery of another kind than
	// KindMessage goes to; without it, it goes to those that Keys belong to.
	Only []Target `json:"only,omitempty"`
	// Withheld are the ids of valid keys that the body is deliberately not
	// sealed for, such as those of a rejected device; they do not count as
	// missing.
	Withheld []cert.Fingerprint `json:"withheld,omitempty"`
}

// A Backup is a sealed backup of keys ([seal.SealBackup]) and its version, which
// the server gives. In a request, Tag is the version to be replaced, or empty if
// there is none; if the server has another version, the answer is CodeConflict.
type Backup struct {
	Sealed json.RawMessage `json:"sealed"`
	Tag    string          `json:"tag,omitempty"`
}

// The codes of refusals that a machine distinguishes; all others mean that
// the call was refused permanently.
const (
	CodeUndelivered = "undelivered"
	CodeStaleKeys   = "stale-keys"
	CodeConflict    = "conflict"
	CodeNotFound    = "not-found"
	CodeNotChosen   = "not-chosen"
	CodeNonce       = "nonce"
	CodeState       = "state"
	CodeApproval    = "approval"
)

// An Ans is the answer to a request. An empty Code is success.
type Ans struct {
	// Code is the code of a refusal, and Detail describes it for people.
	Code, Detail string
	// Missing and Stale come with CodeStaleKeys.
	Missing, Stale []cert.Fingerprint

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
	// Grace is how long a renewed encryption key is kept, in seconds.
	Grace int64 `json:"grace"`
}

// A State is a stage in the life of a key.
type State string

// The states of a key.
const (
	// StatePending: not valid yet.
	StatePending State = "pending"
	// StateActive: valid.
	StateActive State = "active"
	// StateGrace: renewed; it still decrypts but is not used to send. It lasts
	// for Roots.Grace seconds, or longer if messages sealed for the key have
	// not been delivered; its owner can end it sooner.
	StateGrace State = "grace"
	// StateRetired: its grace has ended.
	StateRetired State = "retired"
	// StateExpired: it has expired without being renewed.
	StateExpired State = "expired"
	// StateRevoked: it must not be used, not even for earlier messages if the
	// reason is "key-compromise".
	StateRevoked State = "revoked"
)

// States are all states.
var States = []State{StatePending, StateActive, StateGrace, StateRetired, StateExpired, StateRevoked}

// A KeyInfo is what the authority reports about one key.
type KeyInfo struct {
	User   quinta.UserID   `json:"username"`
	Device quinta.DeviceID `json:"device"`
	// ID and Fingerprint are both the SHA-256 of PublicKey in lower-case hex.
	ID          cert.Fingerprint `json:"keyId"`
	PublicKey   []byte           `json:"publicKey"` // SubjectPublicKeyInfo in DER
	Fingerprint cert.Fingerprint `json:"fingerprint"`
	// Use is "sign", "encrypt" or, of a key of the legacy profile, "both".
	Use     string `json:"use"`
	Profile string `json:"profile"`
	// Serial is the certificate's serial number in hex.
	Serial    string    `json:"serial,omitempty"`
	NotBefore time.Time `json:"notBefore"`
	Expires   time.Time `json:"expires"`
	State     State     `json:"state"`
	// Changed is when the key entered its state.
	Changed time.Time `json:"changed"`
	// Reason is why it was revoked.
	Reason string `json:"reason,omitempty"`
	// Replaces is the key that this one renewed, as the server reports it, and
	// Renewal the proof of it. There is no proof for a key that replaces none,
	// in the legacy profile, or if the old certificate itself has signed.
	Replaces cert.Fingerprint `json:"replaces,omitempty"`
	Renewal  *cert.Renewal    `json:"renewal,omitempty"`
	// Cert is the certificate in DER; absent in the legacy profile.
	Cert []byte `json:"cert,omitempty"`
}

// A KeyList is what the authority reports about the keys of all devices of a
// user, oldest first. An empty list means that the user has none; for a user
// who does not exist, the answer is CodeNotFound.
type KeyList struct {
	User quinta.UserID `json:"username"`
	// At is the time that the states refer to.
	At   time.Time `json:"at"`
	Keys []KeyInfo `json:"keys"`
}

// A Conversation is a conversation as the server reports it. Its profile never
// changes.
type Conversation struct {
	Conv    quinta.RoomID   `json:"conv"`
	Profile string          `json:"profile"`
	Creator quinta.UserID   `json:"creator"`
	Created time.Time       `json:"created"`
	Members []quinta.UserID `json:"members"`
	// Chosen are the members who chose the legacy profile; nothing is delivered
	// before all have.
	Chosen []quinta.UserID `json:"chosen,omitempty"`
}

// A Delivered says that a message is durable, as the server reports it.
type Delivered struct {
	Pos      quinta.Pos `json:"pos"`
	Received time.Time  `json:"received"`
}

// A History is a page of a conversation since the caller joined it, newest
// first. Before is where to continue; zero at the end.
type History struct {
	Items  []Item     `json:"messages"`
	Before quinta.Pos `json:"before"`
}

// An Item is a delivery as a device gets it.
type Item struct {
	Pos  quinta.Pos       `json:"pos"`
	Kind Kind             `json:"kind"`
	Form Form             `json:"form"`
	Conv quinta.RoomID    `json:"conv,omitempty"`
	ID   quinta.MessageID `json:"id,omitempty"`
	// From and Device are the sender that the server names.
	From   quinta.UserID   `json:"from,omitempty"`
	Device quinta.DeviceID `json:"device,omitempty"`
	// Received is when the server claims to have received it.
	Received time.Time `json:"received"`
	Body     []byte    `json:"body"`
}

// An In is one page of the mailbox.
type In struct {
	// After is the position from which the page was requested
	// ([Machine.Since]), and Next is where to continue.
	After, Next quinta.Pos
	Items       []Item
}
