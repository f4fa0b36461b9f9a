package keysrv

import (
	"time"

	"github.com/quinta-chat/quinta"
)

// A ReqKind says which call a request is.
type ReqKind string

// The kinds of request. In brackets: the members of Req that are set, and
// those of Ans on success.
const (
	// ReqDevice publishes the record of this device. [Device -> Devices]
	ReqDevice ReqKind = "device"
	// ReqDevices asks for the devices of a user. [User -> Devices]
	ReqDevices ReqKind = "devices"
	// ReqApprove approves another device of this user. [Target, Approval]
	ReqApprove ReqKind = "approve"
	// ReqCreate makes a key object. [Create -> Object]
	ReqCreate ReqKind = "create"
	// ReqObjects asks for key objects. [IDs -> Objects, Refused]
	ReqObjects ReqKind = "objects"
	// ReqWants asks which copies other devices wait for. [-> Wants]
	ReqWants ReqKind = "wants"
	// ReqWrap stores copies for other devices. [ObjectID, Wrapped]
	ReqWrap ReqKind = "wrap"
	// ReqMembers asks a room for its members. [Room -> Members]
	ReqMembers ReqKind = "members"
	// ReqMessage sends a stanza. [Room, Group, StanzaID, Packet]
	ReqMessage ReqKind = "message"
)

// A Req is one call. It is repeated with the same members until it is
// answered; repeating a call that was carried out has no further effect.
type Req struct {
	// ID names the request within this device.
	ID   string  `json:"-"`
	Kind ReqKind `json:"kind"`

	User     quinta.UserID    `json:"user,omitempty"`
	Device   *Device          `json:"device,omitempty"`
	Target   quinta.DeviceID  `json:"target,omitempty"`
	Approval *Approval        `json:"approval,omitempty"`
	Create   *Create          `json:"create,omitempty"`
	IDs      []string         `json:"ids,omitempty"`
	ObjectID string           `json:"objectID,omitempty"`
	Wrapped  []Wrapped        `json:"wrapped,omitempty"`
	Room     quinta.RoomID    `json:"room,omitempty"`
	Group    bool             `json:"group,omitempty"`
	StanzaID quinta.MessageID `json:"stanzaID,omitempty"`
	Packet   *Packet          `json:"packet,omitempty"`
}

// Lane names what the call must not overtake: the messages of one room keep
// their order, as do the calls about one key object, and those of a kind about
// one user.
func (r Req) Lane() string {
	switch r.Kind {
	case ReqMembers:
		return "members " + string(r.Room)
	case ReqMessage:
		return "room " + string(r.Room)
	case ReqObjects, ReqWants, ReqWrap:
		return string(r.Kind) + " " + r.ObjectID
	case ReqCreate:
		if r.Create != nil {
			return "create " + string(r.Create.With) + string(r.Create.Room)
		}
	}
	return string(r.Kind) + " " + string(r.User)
}

// A Create is a request for a key object. In sealed mode the client chooses the
// id and signs the statement; in escrow mode it may leave the id out, and the
// server makes the key.
type Create struct {
	ID string `json:"id,omitempty"`
	// With is the peer of a direct conversation; Room is a room's bare JID.
	// Exactly one is set.
	With    quinta.UserID `json:"with,omitempty"`
	Room    quinta.RoomID `json:"room,omitempty"`
	Mode    Mode          `json:"mode"`
	Suite   Suite         `json:"suite"`
	Created time.Time     `json:"created,omitzero"`
	Expires time.Time     `json:"expires,omitzero"`
	// Check and Signature are those of the statement, Wrapped the copies.
	Check     []byte    `json:"check,omitempty"`
	Signature []byte    `json:"signature,omitempty"`
	Wrapped   []Wrapped `json:"wrapped,omitempty"`
}

// MaxCopies bounds the copies of a key in one request.
const MaxCopies = 1000

// A Want is a copy of a key that a device waits for.
type Want struct {
	ObjectID string          `json:"id"`
	User     quinta.UserID   `json:"user"`
	Device   quinta.DeviceID `json:"device"`
}

// MaxBatch is how many key objects are asked for in one call.
const MaxBatch = 100

// The codes of refusals that a machine distinguishes; all others mean that
// the call was refused permanently.
const (
	// CodeNotFound: there is no such object, or it is not for this user.
	CodeNotFound = "not-found"
	// CodeConflict: the id is already in use.
	CodeConflict = "conflict"
	// CodeUnapproved: this device is not approved.
	CodeUnapproved = "unapproved"
	// CodeMode: the conversation has another mode, or the server does not
	// offer the mode.
	CodeMode = "mode"
	// CodeStale: the server does not know a device that a copy is for.
	CodeStale = "stale"
	// CodeRoom: the room cannot be served as it is.
	CodeRoom = "room"
)

// An Ans is the answer to a request. An empty Code is success.
type Ans struct {
	// Code is the code of a refusal, and Detail describes it for people.
	Code, Detail string

	Devices []Device
	Object  *Object
	Objects []Object
	// Refused are the requested ids that this user may not have.
	Refused []string
	Wants   []Want
	Members []quinta.UserID
}

// An Item is a stanza that carries a packet, as the XMPP server delivered it.
type Item struct {
	// Room is the peer's bare JID, also for what this user sent from another
	// device, or that of the room, and Group says that it is one.
	Room  quinta.RoomID `json:"room"`
	Group bool          `json:"group,omitempty"`
	// From is the sender's bare JID as the XMPP server reports. It may be
	// empty in a room; then it is one of the members, whom the key decides.
	From     quinta.UserID    `json:"from"`
	StanzaID quinta.MessageID `json:"id"`
	ObjectID string           `json:"objectID"`
	// Text is the base64 as it arrived.
	Text string `json:"text"`
	// Received is when the XMPP server claims to have received it; zero if it
	// does not say.
	Received time.Time `json:"received,omitzero"`
}

// An In is the input from the network at one time.
type In struct {
	Items []Item
	// Archive is the id of the last stanza in the archive that was seen; empty
	// if that has not changed.
	Archive string
	// Wants says that other devices wait for copies, and Changed lists the
	// users whose devices have changed. Both are only hints: nothing is
	// trusted because of them.
	Wants   bool
	Changed []quinta.UserID
	// Rooms are rooms whose members have changed, Archives the ids of the last
	// stanzas in their archives that were seen.
	Rooms       []quinta.RoomID
	Archives    map[quinta.RoomID]string
	Invitations []Invitation
}
