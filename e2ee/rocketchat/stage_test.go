package rocketchat_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

func containsText(all, word string) bool { return strings.Contains(all, word) }

// A device is one machine with its store, on a server.
type device struct {
	s      *server
	id     string
	m      *rocketchat.Machine
	store  *memory.Store
	rand   *rand.ChaCha8
	events []e2ee.Event
	// at is how far the device has read the server's log.
	at int
	// crash, if not nil, is asked before each commit and before each answer is
	// taken in; true ends the process there.
	crash func() bool
}

var errCrash = errors.New("the process ended")

// device makes a device of a user, who is made if they are new.
func (s *server) device(name string, seed byte) *device {
	id := "id" + name + "00000000000"
	if s.users[id] == nil {
		s.users[id] = &user{id: id, name: name}
	}
	d := &device{s: s, id: id, store: memory.New(), rand: rand.NewChaCha8([32]byte{seed, name[0]})}
	d.boot()
	return d
}

// boot starts a machine on the store, as a process does.
func (d *device) boot() {
	d.m = rocketchat.New(e2ee.Env{Now: func() time.Time { return d.s.now }, Rand: d.rand}, d.s.author(d.id))
}

// login makes a device that has done all that is due.
func (s *server) login(name string, seed byte) *device {
	s.t.Helper()
	d := s.device(name, seed)
	d.settle()
	return d
}

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

// do runs one step that must be taken.
func (d *device) do(f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
	d.s.t.Helper()
	if err := d.update(f); err != nil {
		d.s.t.Fatalf("%s: %v", d.id, err)
	}
}

// receive takes in what is new.
func (d *device) receive() error {
	in := d.s.news(d.id, d.at)
	at := len(d.s.log)
	if err := d.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, in) }); err != nil {
		return err
	}
	d.at = at
	return nil
}

// round carries out what is due, once, and reports how much that was.
func (d *device) round() (int, error) {
	var due []rocketchat.Req
	if err := d.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { due, err = d.m.Outgoing(tx); return nil, err }); err != nil {
		return 0, err
	}
	for _, q := range due {
		a := d.s.do(d.id, q)
		if d.s.bent != nil {
			d.s.bent(d, q, &a)
		}
		if d.crash != nil && d.crash() {
			return 0, errCrash // the server has it, the answer is lost
		}
		if err := d.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, q, a) }); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// settle receives and sends until nothing is due.
func (d *device) settle() {
	d.s.t.Helper()
	for range 50 {
		if err := d.receive(); err != nil {
			d.s.t.Fatalf("%s: %v", d.id, err)
		}
		n, err := d.round()
		if err != nil {
			d.s.t.Fatalf("%s: %v", d.id, err)
		}
		if n == 0 {
			return
		}
	}
	d.s.t.Fatalf("%s: got no end of requests", d.id)
}

// talk lets devices settle in turn until all have, some time apart.
func (s *server) talk(list ...*device) {
	s.t.Helper()
	for range 4 {
		for _, d := range list {
			d.settle()
		}
		s.now = s.now.Add(11 * time.Second)
	}
}

func (d *device) send(id quinta.RoomID, text string) {
	d.s.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, d.m.Send(tx, quinta.Message{Room: id, Text: text, Kind: quinta.MessageText, Txn: quinta.TxnID("txn " + text)})
	})
}

func (d *device) put(o rocketchat.Outgoing) error {
	return d.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Put(tx, o) })
}

// read counts how often a text was read.
func (d *device) read(text string) (n int) {
	for _, e := range d.events {
		if e.Kind == e2ee.EventMessage && e.Message.Text == text {
			n++
		}
	}
	return n
}

func (d *device) wants(text string, n int) {
	d.s.t.Helper()
	if got := d.read(text); got != n {
		d.s.t.Errorf("%s: got %q %d times, want %d; events %s", d.id, text, got, n, d.story())
	}
}

// kinds returns the events of a kind.
func (d *device) kinds(k e2ee.EventKind) (out []e2ee.Event) {
	for _, e := range d.events {
		if e.Kind == k {
			out = append(out, e)
		}
	}
	return out
}

func (d *device) reason(id quinta.MessageID) quinta.Reason {
	var last quinta.Reason
	for _, e := range d.events {
		if e.Message.ID == id && e.Kind == e2ee.EventUndecryptable {
			last = e.Reason
		}
	}
	return last
}

func (d *device) story() string {
	var b strings.Builder
	for _, e := range d.events {
		b.WriteString("\n  " + string(e.Message.ID) + " " + e.Message.Text + " " + string(e.Reason) + " " + e.Detail)
	}
	return b.String()
}

func (d *device) keys() rocketchat.KeyInfo {
	d.s.t.Helper()
	var info rocketchat.KeyInfo
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { info, err = d.m.Keys(tx); return nil, err })
	return info
}

func (d *device) password() string {
	d.s.t.Helper()
	var p string
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { p, err = d.m.Password(tx); return nil, err })
	return p
}

func (d *device) room(id quinta.RoomID) rocketchat.RoomInfo {
	d.s.t.Helper()
	var info rocketchat.RoomInfo
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { info, err = d.m.Room(tx, id); return nil, err })
	return info
}

// pair makes two users with a direct conversation.
func pair(t testing.TB) (*server, *device, *device) {
	t.Helper()
	s := newServer(t)
	a, b := s.login("alice", 1), s.login("bob", 2)
	s.room("room1", "d", a.id, b.id)
	return s, a, b
}
