package sim

import (
	"fmt"
	"io"
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

// A World is one network with one conversation, for one run: the server, in
// memory and without faults of its own, and the machines that it makes. It is
// used by one goroutine. Everything that happens at the server has a position,
// which grows.
type World[In, Req, Ans any] interface {
	// User returns the name of the n-th user.
	User(n int) quinta.UserID
	// Login makes the server know a new device; Logout makes it forget one.
	Login(s Seat)
	Logout(s Seat)
	// Join and Leave bring a user into the conversation and out of it.
	Join(u quinta.UserID)
	Leave(u quinta.UserID)

	// Machine returns the machine of a device as its program makes it when it
	// starts, over the store of tx. A restored store was put back to an old
	// copy, and the program was told so.
	Machine(tx e2ee.Tx, env e2ee.Env, s Seat, restored bool) (Machine[In, Req, Ans], error)
	// Restorable reports whether an old copy of a store still has the keys of
	// the device: put back otherwise, it would be another device.
	Restorable(tx e2ee.Tx, s Seat) (bool, error)
	// Handle has the server take a request: its effect and the answer.
	Handle(s Seat, r Req) Ans
	// Lost is the answer of a server that was not reached, if machines are told
	// of that.
	Lost() (Ans, bool)
	// Ask returns from where a device goes on to receive, which is empty before
	// the first time, and Fetch what the server has for it from there.
	Ask(tx e2ee.Tx, s Seat) (string, error)
	Fetch(s Seat, from string) In
	// Everything returns all that was ever sent to the conversation, in the
	// form in which the machine of s takes it in, or false if there is nothing.
	Everything(s Seat) (func(m Machine[In, Req, Ans], tx e2ee.Tx) ([]e2ee.Event, error), bool)

	// Message makes a message to the conversation, and Text returns the words
	// of one.
	Message(txn quinta.TxnID, text string) quinta.Message
	Text(m quinta.Message) string
	// Renew has a machine take new keys for what it sends next.
	Renew(m Machine[In, Req, Ans], tx e2ee.Tx) error
	// Look says what a request shows to who sees it on its way. tx is the store
	// of its sender.
	Look(tx e2ee.Tx, s Seat, r Req) Sight
	// Misused lists keys that the server gave out twice, or saw used so.
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

// A Machine is a machine of a world.
type Machine[In, Req, Ans any] = e2ee.Machine[In, Req, Ans]

// An Accepted is a message at the server.
type Accepted struct {
	Txn quinta.TxnID
	Pos uint64
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

// An Outside is what a world gets of the outside.
type Outside struct {
	Now  func() time.Time
	Rand io.Reader
}

// A Network is a world that can be played, for whoever does not know its types.
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
	// Trace has a line for each thing that happened, if it was asked for.
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
