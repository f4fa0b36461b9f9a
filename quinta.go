package quinta

import "time"

// A NetworkName names one of the networks, such as "matrix". It is the name
// of the network's folder under network/.
type NetworkName string

// A UserID is a user's full name in the form of the user's network, such as
// "@alice:example.org" on Matrix.
type UserID string

// A DeviceID names one device of one user. It is unique among the devices of
// that user only.
type DeviceID string

// A RoomID names a conversation in the form of its network.
type RoomID string

// A MessageID names one message within its room, in the form of its network.
type MessageID string

// A TxnID is an idempotency id: a request that may have been received is
// repeated with the same TxnID and the same bytes.
type TxnID string

// A Pos is a position in the one total order of a store's writes. Positions
// only grow; zero is before everything.
type Pos int64

// A Device is one device of one user.
type Device struct {
	User UserID
	ID   DeviceID
	// Name is what the device's owner calls it. It is not authenticated.
	Name string
}

// A Room is a conversation as a client sees it.
type Room struct {
	ID   RoomID
	Name string
	// Encrypted says that messages of the room are end-to-end encrypted.
	// Once true it stays true, whatever a server says later.
	Encrypted bool
	Members   []UserID
}

// A MessageKind says what sort of thing a message is, in words that all
// networks share.
type MessageKind string

// The kinds of message.
const (
	// MessageText: Text is what a person wrote.
	MessageText MessageKind = "text"
	// MessageNotice: Text is what a program wrote; programs do not answer it.
	MessageNotice MessageKind = "notice"
	// MessageEmote: Text is what the sender does, in the third person.
	MessageEmote MessageKind = "emote"
	// MessageFile: File is a file, and Text its caption.
	MessageFile MessageKind = "file"
	// MessageReaction: Relation.Key is a reaction to another message.
	MessageReaction MessageKind = "reaction"
	// MessageRedaction takes back the message that Relation names.
	MessageRedaction MessageKind = "redaction"
	// MessageOther: only Type and Body say what it is.
	MessageOther MessageKind = "other"
)

// A RelationKind says how a message refers to another one.
type RelationKind string

// The kinds of relation.
const (
	// RelationReplace: the message is a new text for the other one.
	RelationReplace RelationKind = "replace"
	// RelationReply: the message answers the other one.
	RelationReply RelationKind = "reply"
	// RelationThread: the message belongs to the thread of the other one.
	RelationThread RelationKind = "thread"
	// RelationReaction: the message is a reaction to the other one.
	RelationReaction RelationKind = "reaction"
	// RelationRedaction: the message takes the other one back.
	RelationRedaction RelationKind = "redaction"
)

// A Relation is a message's reference to another one of the same room. The
// zero Relation is none.
type Relation struct {
	Kind RelationKind `json:"kind,omitempty"`
	To   MessageID    `json:"to,omitempty"`
	// Key is the reaction, such as an emoji.
	Key string `json:"key,omitempty"`
}

// A File is a file that came with a message and was not fetched yet.
type File struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type,omitempty"`
	// Size is what the sender claims, in bytes; -1 if they do not.
	Size int64 `json:"size"`
	// Ref says where the sealed bytes are and how to open them, in the form
	// of the network. It holds a key: it is as secret as the message.
	Ref []byte `json:"-"`
}

// A Message is what one person said to a room, opened.
type Message struct {
	ID     MessageID
	Room   RoomID
	Sender UserID
	// Device is the sender's device, if the encryption system names it.
	Device DeviceID
	// Time is the sender's or server's claim; no network authenticates it
	// unless its page in doc/network says so.
	Time time.Time
	// Txn is the idempotency id under which this device sent the message; it
	// is empty for messages of others.
	Txn TxnID
	// Kind, Text, File and Relation are the message in words that all
	// networks share.
	Kind     MessageKind
	Text     string
	File     *File
	Relation Relation
	// Mentions are the users whose attention the sender asks for.
	Mentions []UserID
	// Type and Body are in the form of the network: on Matrix the event type
	// and the JSON of the content.
	Type string
	Body []byte
	// Encrypted says that the message came end-to-end encrypted.
	Encrypted bool
	// Trust says how far the sending device is known.
	Trust Trust
	// Weakness names what is weak about the form in which the message came,
	// if anything; see the constants of type Weakness.
	Weakness Weakness
}

// An Envelope is a sealed message on its way to one device. Nothing between
// the two devices can open it.
type Envelope struct {
	From   UserID
	To     UserID
	Device DeviceID
	// Type is the clear outer type that the network gives the envelope.
	Type string
	// Body is the sealed content in the form of the network.
	Body []byte
}

// Trust says how far a device is trusted, and so the messages that it wrote.
type Trust int

// The zero Trust is TrustUnknown, so that a forgotten assignment never
// raises trust.
const (
	// TrustUnknown: the device is not known at all.
	TrustUnknown Trust = iota
	// TrustRejected: the user said that the device is not to be trusted.
	TrustRejected
	// TrustPinned: the identity is the one seen first; no one compared it.
	TrustPinned
	// TrustSigned: the device is signed by the pinned identity of its owner.
	TrustSigned
	// TrustVerified: the user compared the identity over another channel.
	TrustVerified
)

// String returns the name of t as it appears in JSON and documents.
func (t Trust) String() string {
	switch t {
	case TrustRejected:
		return "rejected"
	case TrustPinned:
		return "pinned"
	case TrustSigned:
		return "signed"
	case TrustVerified:
		return "verified"
	}
	return "unknown"
}

// A Weakness names what is weak about the form in which a message came. The
// empty Weakness means that nothing is.
type Weakness string

// Each network documents which of these it can give.
const (
	// WeakPlain: the message came in clear in an encrypted room.
	WeakPlain Weakness = "plain"
	// WeakUnauthenticated: the form has no authentication of its content.
	WeakUnauthenticated Weakness = "unauthenticated"
	// WeakKeySource: the key came from a source that proves no owner, such as
	// a backup whose entries are not authenticated.
	WeakKeySource Weakness = "key-source"
	// WeakUnknownDevice: the key came from such a source, and says that it is of
	// a device that this one does not know.
	WeakUnknownDevice Weakness = "unknown-device"
	// WeakOwner: two users have proven that they hold the key, and only one of
	// them can have made it.
	WeakOwner Weakness = "owner"
	// WeakRelation: what the message answers, or the thread that it is in, was
	// not sealed with it; the server can have put it there.
	WeakRelation Weakness = "relation"
	// WeakLegacy: the message came in a legacy profile that the user chose.
	WeakLegacy Weakness = "legacy"
)

// Weaknesses lists every Weakness.
var Weaknesses = []Weakness{WeakPlain, WeakUnauthenticated, WeakKeySource, WeakUnknownDevice, WeakOwner, WeakRelation, WeakLegacy}

// A Reason says why a message cannot be read. Reasons are one list for all
// networks and are stable: programs may compare them.
type Reason string

// The reasons; ReasonText gives one sentence and one remedy for each.
const (
	ReasonNoKeyYet         Reason = "no-key-yet"
	ReasonBeforeThisDevice Reason = "before-this-device"
	ReasonBackupLocked     Reason = "backup-locked"
	ReasonNotAMemberThen   Reason = "not-a-member-then"
	ReasonWithheld         Reason = "withheld"
	ReasonKeyTooNew        Reason = "key-too-new"
	ReasonNotPermitted     Reason = "not-permitted"
	ReasonExpired          Reason = "expired"
	ReasonTampered         Reason = "tampered"
	ReasonReplayed         Reason = "replayed"
	ReasonSenderMismatch   Reason = "sender-mismatch"
	ReasonUnsupported      Reason = "unsupported"
	ReasonMalformed        Reason = "malformed"
)

// Reasons lists every Reason in the order of the documents.
var Reasons = []Reason{
	ReasonNoKeyYet, ReasonBeforeThisDevice, ReasonBackupLocked, ReasonNotAMemberThen,
	ReasonWithheld, ReasonKeyTooNew, ReasonNotPermitted, ReasonExpired, ReasonTampered,
	ReasonReplayed, ReasonSenderMismatch, ReasonUnsupported, ReasonMalformed,
}

// ReasonText gives, for every Reason, a sentence for people and one thing to
// do about it.
var ReasonText = map[Reason]struct{ Sentence, Remedy string }{
	ReasonNoKeyYet:         {"the key for this message has not arrived yet", "wait: the key has been requested, and the message will become readable once it arrives"},
	ReasonBeforeThisDevice: {"the message was sent before this device existed", "import keys from an older device, or connect a key backup"},
	ReasonBackupLocked:     {"the key is in the key backup, which this device cannot open", "unlock the backup with its recovery key"},
	ReasonNotAMemberThen:   {"this account was not in the conversation when the message was sent", "ask the sender to share it again"},
	ReasonWithheld:         {"the sender chose not to share the key with this device", "verify this device, or ask the sender"},
	ReasonKeyTooNew:        {"the key on this device starts after this message", "import keys from an older device, or connect a key backup"},
	ReasonNotPermitted:     {"the key server or certificate authority refuses this account", "ask its administrator for permission"},
	ReasonExpired:          {"the key or certificate was not valid at that time", "ask the sender to renew it and to send the message again"},
	ReasonTampered:         {"the message is not what the sender wrote", "do not trust it; ask the sender over another channel"},
	ReasonReplayed:         {"the message was seen before, in another place or out of order", "do not trust it; someone may be repeating old messages"},
	ReasonSenderMismatch:   {"the key does not belong to the claimed sender, room or device", "do not trust it; ask the sender over another channel"},
	ReasonUnsupported:      {"this version cannot read the format of the message", "update, or ask the sender to use a supported format"},
	ReasonMalformed:        {"this is not a valid message", "ask the sender which program wrote it"},
}
