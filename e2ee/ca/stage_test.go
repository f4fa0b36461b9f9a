package ca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/testkit/town"
)

// A device is one machine with its store, on a server.
type device struct {
	p      *post
	m      *ca.Machine
	store  *memory.Store
	user   quinta.UserID
	id     quinta.DeviceID
	policy ca.Policy
	rand   *rand.ChaCha8
	events []e2ee.Event
	// slow is how far the clock of the device is behind the server's.
	slow time.Duration
	// crash, if it is set, is asked before each step that could be the last one
	// of a process; see crash_test.go.
	crash func() bool
}

// now is the time at which the tests begin.
var now = town.Now

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var errCrash = errors.New("the process ended")

func (d *device) String() string { return string(d.user) + " " + string(d.id) }

// device makes a device that has not logged in.
func (p *post) device(user quinta.UserID, id quinta.DeviceID, policy ca.Policy) *device {
	seed := [32]byte{}
	copy(seed[:], string(user)+" "+string(id))
	d := &device{p: p, store: memory.New(), user: user, id: id, policy: policy, rand: rand.NewChaCha8(seed)}
	d.boot()
	return d
}

// boot starts a machine on the store, as a process does.
func (d *device) boot() {
	d.m = ca.New(e2ee.Env{Now: func() time.Time { return d.p.now.Add(-d.slow) }, Rand: d.rand}, d.user, d.id, d.policy)
}

// login makes a new device that has enrolled its keys.
func (p *post) login(user quinta.UserID, id quinta.DeviceID, policy ca.Policy) *device {
	p.t.Helper()
	d := p.device(user, id, policy)
	delivered := quinta.Pos(0)
	for box, pos := range p.acked {
		if strings.HasPrefix(box, string(user)+" ") {
			delivered = max(delivered, pos)
		}
	}
	if _, ok := p.boxes[d.String()]; !ok {
		p.boxes[d.String()] = nil
	}
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, d.m.Begin(tx, ca.Login{New: true, Delivered: delivered})
	})
	d.settle()
	return d
}

// update runs f in one transaction.
func (d *device) update(f func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	var events []e2ee.Event
	err := d.store.Update(context.Background(), func(tx e2ee.Tx) (err error) {
		if events, err = f(tx); err != nil {
			return err
		}
		if d.crash != nil && d.crash() {
			return errCrash
		}
		return nil
	})
	if err == nil {
		d.events = append(d.events, events...)
	}
	return err
}

// do runs f in one transaction, which must succeed.
func (d *device) do(f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
	d.p.t.Helper()
	if err := d.update(f); err != nil {
		d.p.t.Fatalf("%s: %v", d, err)
	}
}

// due returns what is to be sent.
func (d *device) due() []ca.Req {
	d.p.t.Helper()
	var out []ca.Req
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { out, err = d.m.Outgoing(tx); return nil, err })
	return out
}

// flush carries out what is due until nothing is.
func (d *device) flush() {
	d.p.t.Helper()
	for range 200 {
		due := d.due()
		if len(due) == 0 {
			return
		}
		for _, r := range due {
			a := d.p.do(d, r)
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, a) })
		}
	}
	d.p.t.Fatalf("%s: there is no end to what is due: %+v", d, d.due())
}

// poll takes in what waits at the server.
func (d *device) poll() {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		after, err := d.m.Since(tx)
		if err != nil {
			return nil, err
		}
		return d.m.Receive(tx, d.p.mailbox(d, after))
	})
}

// settle sends and receives until nothing is left to do.
func (d *device) settle() {
	d.p.t.Helper()
	d.flush()
	d.poll()
	d.flush()
}

// direct returns the conversation with a user, and has it made.
func (d *device) direct(peer quinta.UserID) quinta.RoomID {
	d.p.t.Helper()
	var id quinta.RoomID
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { id, err = d.m.Direct(tx, peer); return nil, err })
	d.flush()
	return id
}

// post puts a text into the outbox.
func (d *device) post(conv quinta.RoomID, text string) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, d.m.Send(tx, quinta.Message{Room: conv, Kind: quinta.MessageText, Text: text, Txn: quinta.TxnID("txn " + text)})
	})
}

// says sends a text.
func (d *device) says(conv quinta.RoomID, text string) {
	d.p.t.Helper()
	d.post(conv, text)
	d.flush()
}

// take returns the events since the last take of some kinds, or all.
func (d *device) take(kinds ...e2ee.EventKind) []e2ee.Event {
	var out []e2ee.Event
	for _, e := range d.events {
		for _, k := range kinds {
			if e.Kind == k {
				out = append(out, e)
			}
		}
		if len(kinds) == 0 {
			out = append(out, e)
		}
	}
	d.events = nil
	return out
}

// reads ends the test unless the texts of the messages that came since the last
// take are these.
func (d *device) reads(want ...string) []e2ee.Event {
	d.p.t.Helper()
	events := d.take(e2ee.EventMessage)
	var got []string
	for _, e := range events {
		got = append(got, e.Message.Text)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.p.t.Fatalf("%s: got %q, want %q", d, got, want)
	}
	return events
}

// told ends the test unless just these reasons were given since the last take.
func (d *device) told(want ...quinta.Reason) []e2ee.Event {
	d.p.t.Helper()
	var got []quinta.Reason
	events := d.take()
	for _, e := range events {
		switch e.Kind {
		case e2ee.EventUndecryptable:
			got = append(got, e.Reason)
		case e2ee.EventMessage:
			d.p.t.Errorf("%s: got the message %q", d, e.Message.Text)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.p.t.Fatalf("%s: got the reasons %q, want %q: %+v", d, got, want, events)
	}
	return events
}

// has returns the first event of a kind whose detail contains a text.
func has(events []e2ee.Event, kind e2ee.EventKind, detail string) *e2ee.Event {
	for i := range events {
		if events[i].Kind == kind && strings.Contains(events[i].Detail, detail) {
			return &events[i]
		}
	}
	return nil
}

// trust decides on a device, as two people do who compared it.
func (d *device) trust(other *device, decision ca.Decision) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		list, err := d.m.Devices(tx, other.user)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if i.ID == other.id {
				return d.m.Decide(tx, other.user, other.id, i.Fingerprint, decision)
			}
		}
		return nil, ca.ErrUnknownDevice
	})
}

// later moves the clock of all.
func (p *post) later(d time.Duration) { p.now = p.now.Add(d) }

// strangeKey is a key that no device of the test has.
func strangeKey(t testing.TB, n byte) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), n+1)))
}

const (
	alice quinta.UserID = "alice@hs1"
	bob   quinta.UserID = "bob@hs1"
	carol quinta.UserID = "carol@hs1"
)

// couple is two users with a device each and their conversation.
func couple(t testing.TB, policy ca.Policy) (p *post, a, b *device, conv quinta.RoomID) {
	t.Helper()
	p = newPost(t, 1)
	a, b = p.login(alice, "A1", policy), p.login(bob, "B1", policy)
	conv = a.direct(bob)
	a.settle()
	b.settle()
	a.take()
	b.take()
	return p, a, b, conv
}
