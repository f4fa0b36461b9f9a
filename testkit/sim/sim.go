package sim

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Seat is one device of one user.
type Seat struct {
	User   quinta.UserID
	Device quinta.DeviceID
}

// String returns "user/device".
func (s Seat) String() string { return string(s.User) + "/" + string(s.Device) }

// A World is one network for one run: its server, in memory and without faults
// of its own, the machines of its devices, and the judge of what they show. It
// is used by one goroutine.
type World[In, Req, Ans any] interface {
	Server[In, Req, Ans]
	Program[In, Req, Ans]
	Judge[In, Req, Ans]
}

// A Server is what the devices of a world talk to. Everything that happens at
// the server has a position, which grows.
type Server[In, Req, Ans any] interface {
	// User returns the name of the n-th user, and Room that of the n-th
	// conversation.
	User(n int) quinta.UserID
	Room(n int) quinta.RoomID
	// Login makes the server know a new device; Logout makes it forget one.
	Login(s Seat)
	Logout(s Seat)
	// Join and Leave bring a user into a conversation and out of it.
	Join(room quinta.RoomID, u quinta.UserID)
	Leave(room quinta.RoomID, u quinta.UserID)
	// Handle has the server take a request: its effect and the answer.
	Handle(s Seat, r Req) Ans
	// Lost is the answer of a server that was not reached, if machines are told
	// of that.
	Lost() (Ans, bool)
	// Ask returns the position from which a device continues to receive, which
	// is empty before the first time, and Fetch what the server has for it from
	// there.
	Ask(tx e2ee.Tx, s Seat) (string, error)
	Fetch(s Seat, from string) In
}

// A Program is what a device runs.
type Program[In, Req, Ans any] interface {
	// Machine returns the machine of a device as its program makes it when it
	// starts, over the store of tx. A restored store was restored from an old
	// copy, and the program was told so.
	Machine(tx e2ee.Tx, env e2ee.Env, s Seat, restored bool) (Machine[In, Req, Ans], error)
	// Restorable reports whether an old copy of a store still has the keys of
	// the device: put back otherwise, it would be another device.
	Restorable(tx e2ee.Tx, s Seat) (bool, error)
	// Message makes a message to a conversation, and Text returns the words of
	// one.
	Message(room quinta.RoomID, txn quinta.TxnID, text string) quinta.Message
	Text(m quinta.Message) string
	// Renew has a machine take new keys for what it sends next to a
	// conversation.
	Renew(m Machine[In, Req, Ans], tx e2ee.Tx, room quinta.RoomID) error
}

// A Judge knows what the devices of a world must and may see, and what can be
// seen of them from outside. [PairJudge] is the part of one that a network
// without lists of devices does not have to write.
type Judge[In, Req, Ans any] interface {
	// Everything returns all that was ever sent to any conversation, in the
	// form in which the machine of s takes it in, or false if there is nothing.
	Everything(s Seat) (func(m Machine[In, Req, Ans], tx e2ee.Tx) ([]e2ee.Event, error), bool)
	// Look says what a request shows to anyone who sees it on its way. tx is
	// the store of its sender.
	Look(tx e2ee.Tx, s Seat, r Req) Sight
	// Misused lists keys that the server gave out twice, or saw used twice.
	Misused() []string
	// Knows returns the position up to which a device knows what happened at
	// the server.
	Knows(tx e2ee.Tx, s Seat) (uint64, error)
	// Entitled says whether a device must be able to read a message that was
	// accepted, and whether it may, if its sender knew what happened up to a
	// position when it was sealed.
	Entitled(s Seat, m Accepted, knows uint64) (must, may bool)
	// Accepted returns the messages that the server took, in order.
	Accepted() []Accepted
	// Listed returns the devices of a user that a machine would send to, and
	// Published those that the server knows, both sorted.
	Listed(m Machine[In, Req, Ans], tx e2ee.Tx, u quinta.UserID) ([]string, error)
	Published(u quinta.UserID) []string
}

// A PairJudge is embedded in the world of a network whose machines keep no
// lists of devices, and whose senders seal with what the server has when it
// takes a message.
type PairJudge[In, Req, Ans any] struct{}

// Knows returns the highest position: the sender never lags behind.
func (PairJudge[In, Req, Ans]) Knows(e2ee.Tx, Seat) (uint64, error) { return math.MaxUint64, nil }

// Listed returns nothing.
func (PairJudge[In, Req, Ans]) Listed(Machine[In, Req, Ans], e2ee.Tx, quinta.UserID) ([]string, error) {
	return nil, nil
}

// Published returns nothing.
func (PairJudge[In, Req, Ans]) Published(quinta.UserID) []string { return nil }

// A Pairing is a World whose conversations are between two users, who stay.
// A user who leaves one ends what there is between the two, and may begin
// again; every user keeps one device at least.
type Pairing interface {
	// Pairs does nothing.
	Pairs()
}

// A Doer is a World with deeds of its own.
type Doer[In, Req, Ans any] interface {
	// Deed has a device do something in a conversation, or its line something
	// to it, that only this network knows; luck chooses.
	Deed(m Machine[In, Req, Ans], tx e2ee.Tx, s Seat, room quinta.RoomID, luck *rand.Rand) ([]e2ee.Event, error)
}

// A Machine is a machine of a world.
type Machine[In, Req, Ans any] = e2ee.Machine[In, Req, Ans]

// An Accepted is a message at the server.
type Accepted struct {
	Room quinta.RoomID
	Txn  quinta.TxnID
	Pos  uint64
}

// A Sight is what a request shows.
type Sight struct {
	// Name is what it is called in a trace.
	Name string
	// Wire is all that can be read of it.
	Wire []byte
	// Txn is that of the message that it carries, if it carries one.
	Txn quinta.TxnID
	// Uses are the keys under which something in it is sealed.
	Uses []Use
}

// A Use is one use of a key that may be used once.
type Use struct {
	// Key names the key, or the session and the index.
	Key string
	// For is what it was used for. The same key for the same thing is a
	// repeat, and no second use.
	For string
}

// An Outside is a world's clock and randomness.
type Outside struct {
	Now  func() time.Time
	Rand io.Reader
}

// A Network is a world that can be played by callers that do not know its types.
type Network struct {
	Name string
	play func(s Script, trace bool) *Result
}

// Bind makes a network of a way to make its worlds.
func Bind[In, Req, Ans any](name string, world func(Outside) World[In, Req, Ans]) Network {
	return Network{name, func(s Script, trace bool) *Result {
		r := newRun(s, trace, world)
		r.play()
		return r.result
	}}
}

// Play carries out a script. With trace the result says what each step did.
func (n Network) Play(s Script, trace bool) *Result { return n.play(s, trace) }

// The rules.
const (
	RuleReads   = "every entitled device reads every acknowledged message"
	RuleSecret  = "no other device reads it"
	RuleKeys    = "no key or index is used twice"
	RuleLists   = "device lists converge"
	RuleOrder   = "the order of each sender holds"
	RuleMachine = "a machine has no error of its own"
)

// A Violation is a rule that was broken, and how.
type Violation struct{ Rule, How string }

// A Result is what came of a script.
type Result struct {
	Violations []Violation
	// Trace has a line for each thing that happened, if it was requested.
	Trace []string
	// What happened in all: so that a simulation in which nothing happens is
	// seen.
	Count Count
}

// A Count counts what happened.
type Count struct {
	Devices, Sent, Acknowledged, Read, Crashes, Restores, Lost, Repeated, Delayed int
}

// Add adds d to c.
func (c *Count) Add(d Count) {
	c.Devices += d.Devices
	c.Sent += d.Sent
	c.Acknowledged += d.Acknowledged
	c.Read += d.Read
	c.Crashes += d.Crashes
	c.Restores += d.Restores
	c.Lost += d.Lost
	c.Repeated += d.Repeated
	c.Delayed += d.Delayed
}

// Broken reports whether a rule was broken.
func (r *Result) Broken(rule string) bool {
	for _, v := range r.Violations {
		if v.Rule == rule {
			return true
		}
	}
	return false
}

// String lists the violations, one in each line.
func (r *Result) String() string {
	s := ""
	for _, v := range r.Violations {
		s += fmt.Sprintf("%s: %s\n", v.Rule, v.How)
	}
	return s
}
