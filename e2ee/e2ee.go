// Package e2ee defines the shape that every end-to-end encryption system in
// Quinta has: a machine without input and output of its own.
//
// You push in what came from the network, pull out what is due to go there,
// and give the machine the answers. The machine keeps its private state in a
// [Tx]; the caller commits everything that one call causes together, and
// requests leave only after that commit. So after a crash at any point, a
// request is repeated with the same bytes, and no message key is used twice.
//
// The package also has what every machine needs for that state: [Load],
// [Store] and [Records] for values in JSON, a [Queue] for entries that keep
// their order, and [ErrDamaged] for records that cannot be read. The example
// shows the pattern.
//
// The systems themselves are the packages below this one. None of them reads
// a clock, a source of randomness, a file or a socket: they get an [Env].
package e2ee

import (
	"errors"
	"io"
	"iter"
	"time"

	"github.com/quinta-chat/quinta"
)

// An Env is the outside world of a machine.
type Env struct {
	// Now returns the current time.
	Now func() time.Time
	// Rand is a cryptographically secure source of random bytes. A machine
	// treats a failed or short read as fatal for the call.
	Rand io.Reader
}

// A Tx is one transaction over the private state of a machine: an ordered
// map from keys to values. Keys and values belong to the machine; the store
// encrypts them at rest. A slice that was given or returned must not be
// changed by either side.
type Tx interface {
	// Get returns the value at key, or nil and no error if there is none.
	Get(key string) ([]byte, error)
	// Put sets the value at key.
	Put(key string, value []byte) error
	// Delete removes the value at key; a missing key is not an error.
	Delete(key string) error
	// All yields every key that begins with prefix, with its value, in
	// ascending byte order of the keys. The map must not be changed while
	// the loop runs. An error ends the sequence as its last pair's error.
	All(prefix string) iter.Seq2[Entry, error]
}

// An Entry is one pair of a Tx.
type Entry struct {
	Key   string
	Value []byte
}

// An EventKind says what an Event reports.
type EventKind int

// The kinds of event.
const (
	// EventMessage: a message was opened.
	EventMessage EventKind = iota + 1
	// EventUndecryptable: a message cannot be read; Reason says why. It is
	// kept, and tried again when a key comes.
	EventUndecryptable
	// EventKeyChanged: a user's or device's identity is not the pinned one.
	EventKeyChanged
	// EventVerification: a verification was requested, or advanced.
	EventVerification
	// EventDevice: a device of a known user appeared, changed or disappeared.
	EventDevice
	// EventRoom: something about a room has changed: its name, its members,
	// this account's own membership, its encryption.
	EventRoom
	// EventReceipt: User has read Message.Room up to Message.ID.
	EventReceipt
	// EventSent: a message of the outbox was accepted; Message.Txn is the id
	// under which it was sent, and Message.ID the id that it was given.
	EventSent
	// EventFailed: a message of the outbox will not be sent; Detail says why
	// and Message.Txn which one.
	EventFailed
	// EventTrouble: the server cannot be reached or asks to wait; Detail says
	// why. Due requests are retried automatically.
	EventTrouble
	// EventUnread: User reports that none of their devices could read Message,
	// which this device sent; Device is the device that asks for it.
	EventUnread
	// EventSecret: a secret arrived from a verified device of the same user;
	// Detail names it.
	EventSecret

	eventKinds // one more than the last kind
)

// EventKinds returns every kind.
func EventKinds() []EventKind {
	ks := make([]EventKind, 0, eventKinds-1)
	for k := EventMessage; k < eventKinds; k++ {
		ks = append(ks, k)
	}
	return ks
}

// eventNames are the stable names of the kinds.
var eventNames = [eventKinds]string{
	EventMessage:       "message",
	EventUndecryptable: "unreadable",
	EventKeyChanged:    "key-changed",
	EventVerification:  "verification",
	EventDevice:        "device",
	EventRoom:          "room-changed",
	EventReceipt:       "receipt",
	EventSent:          "sent",
	EventFailed:        "failed",
	EventTrouble:       "trouble",
	EventUnread:        "unread",
	EventSecret:        "secret",
}

// String returns a stable lower-case name, such as "key-changed", by which
// programs distinguish the kinds.
func (k EventKind) String() string {
	if k < EventMessage || k >= eventKinds {
		return "unknown"
	}
	return eventNames[k]
}

// ErrIdentityChanged is wrapped by what a machine returns when it refuses to
// send because the verified identity of a recipient has changed, and the user
// has not decided yet whether to accept the new one.
var ErrIdentityChanged = errors.New("a verified identity has changed")

// An Event is what a machine tells its caller.
type Event struct {
	Kind EventKind
	// Message is the message in question. For a message that cannot be read,
	// it has what the envelope says in clear: id, room, claimed sender and
	// time.
	Message quinta.Message
	// User and Device say whose key, device or receipt it is about, where
	// that is not the sender of Message.
	User   quinta.UserID
	Device quinta.DeviceID
	Reason quinta.Reason
	// Detail is the network's own code or words for the reason, if any.
	Detail string
}

// A Machine is one end-to-end encryption system for one device. In is what
// comes from the network, Req a request that is due, Ans the answer to one.
type Machine[In, Req, Ans any] interface {
	// Send takes a message to be sealed. It is in the outbox when Send
	// returns, and leaves through Outgoing.
	Send(tx Tx, m quinta.Message) error
	// Receive takes what came from the network.
	Receive(tx Tx, in In) ([]Event, error)
	// Outgoing returns the requests that are due, oldest first. A request is
	// returned again, with the same bytes, until Done was called for it.
	Outgoing(tx Tx) ([]Req, error)
	// Done takes the answer to a request.
	Done(tx Tx, req Req, ans Ans) ([]Event, error)
}
