package keysrv_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// A device is one machine with its store, on a post.
type device struct {
	p      *post
	m      *keysrv.Machine
	store  *memory.Store
	user   quinta.UserID
	id     quinta.DeviceID
	policy keysrv.Policy
	rand   *rand.ChaCha8
	events []e2ee.Event
	// crash, if it is set, is asked before each commit whether the process ends.
	crash func() bool
}

var errCrash = errors.New("the process ended")

func (d *device) String() string { return string(d.user) + " " + string(d.id) }

// device makes a device that has not spoken to the server.
func (p *post) device(user quinta.UserID, seed byte, policy keysrv.Policy) *device {
	p.t.Helper()
	d := &device{p: p, store: memory.New(), user: user, policy: policy, rand: rand.NewChaCha8([32]byte{seed})}
	d.boot()
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { d.id, err = d.m.Begin(tx); return nil, err })
	return d
}

// login makes a device and publishes it.
func (p *post) login(user quinta.UserID, seed byte) *device {
	p.t.Helper()
	d := p.device(user, seed, keysrv.Policy{})
	d.settle()
	return d
}

func (d *device) boot() {
	d.m = keysrv.New(e2ee.Env{Now: func() time.Time { return d.p.now }, Rand: d.rand}, d.user, d.policy)
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

func (d *device) due() (out []keysrv.Req) {
	d.p.t.Helper()
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

// poll takes in what is new in the archive.
func (d *device) poll() {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		after, err := d.m.Archive(tx)
		if err != nil {
			return nil, err
		}
		return d.m.Receive(tx, d.p.fetch(d.user, after))
	})
}

// receive takes items as they are.
func (d *device) receive(items ...keysrv.Item) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, keysrv.In{Items: items}) })
	d.flush()
}

// settle sends and receives until nothing is left to do.
func (d *device) settle() {
	d.p.t.Helper()
	d.flush()
	d.poll()
	d.flush()
}

// hint tells a device that others wait for copies and that devices changed.
func (d *device) hint(changed ...quinta.UserID) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return d.m.Receive(tx, keysrv.In{Wants: true, Changed: changed})
	})
	d.flush()
}

func (d *device) direct(peer quinta.UserID) quinta.RoomID {
	d.p.t.Helper()
	var room quinta.RoomID
	d.do(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		room, events, err = d.m.Direct(tx, peer)
		return events, err
	})
	return room
}

func (d *device) post(room quinta.RoomID, text string) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, d.m.Send(tx, quinta.Message{Room: room, Text: text, Txn: quinta.TxnID("txn " + text)})
	})
}

// says sends texts.
func (d *device) says(room quinta.RoomID, texts ...string) {
	d.p.t.Helper()
	for _, text := range texts {
		d.post(room, text)
		d.flush()
	}
}

// take returns the events since the last take of some kinds, or all.
func (d *device) take(kinds ...e2ee.EventKind) (out []e2ee.Event) {
	for _, e := range d.events {
		ok := len(kinds) == 0
		for _, k := range kinds {
			ok = ok || e.Kind == k
		}
		if ok {
			out = append(out, e)
		}
	}
	d.events = nil
	return out
}

// reads ends the test unless the texts that came since the last take are these.
func (d *device) reads(want ...string) []e2ee.Event {
	d.p.t.Helper()
	all := d.take()
	var got []string
	var out []e2ee.Event
	for _, e := range all {
		if e.Kind == e2ee.EventMessage {
			got = append(got, e.Message.Text)
			out = append(out, e)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.p.t.Fatalf("%s: got %q, want %q; all: %+v", d, got, want, all)
	}
	return out
}

// told ends the test unless just these reasons were given since the last take,
// and no message.
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

func (d *device) decide(other *device, what keysrv.Decision) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Decide(tx, other.user, other.id, what) })
}

// approve is what a person does who compared the id of a new device of theirs.
func (d *device) approve(other *device) {
	d.p.t.Helper()
	d.hint(d.user)
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Approve(tx, other.id) })
	d.flush()
}

func has(events []e2ee.Event, kind e2ee.EventKind) bool {
	for _, e := range events {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// couple is two users with a device each and their conversation.
func couple(t testing.TB) (p *post, a, b *device, room quinta.RoomID) {
	t.Helper()
	p = newPost(t)
	a, b = p.login(romeo, 1), p.login(juliet, 2)
	room = a.direct(juliet)
	a.take()
	b.take()
	return p, a, b, room
}
