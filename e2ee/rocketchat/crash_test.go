package rocketchat_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// live settles whatever ends the process meanwhile.
func (d *device) live() {
	d.s.t.Helper()
	for range 60 {
		err := d.receive()
		n := 0
		if err == nil {
			n, err = d.round()
		}
		switch {
		case errors.Is(err, errCrash):
			d.crash = nil
			d.boot()
		case err != nil:
			d.s.t.Fatalf("%s: %v", d.id, err)
		case n == 0:
			return
		}
	}
	d.s.t.Fatalf("%s: got no end of requests", d.id)
}

// TestCrash ends the process of one side at every step of a whole story, before
// the commit or after the server has answered: no second key pair, no second room
// key, no message lost, none twice.
func TestCrash(t *testing.T) {
	t.Parallel()
	// One key pair of bob's is enough for all stories: making one takes long.
	first := newServer(t)
	bob := first.login("bob", 2)
	keys, password := *first.users[bob.id], bob.password()
	for at := 1; ; at++ {
		done := false
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			s := newServer(t)
			b := s.device("bob", 2)
			*s.users[b.id] = keys
			b.settle()
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Unlock(tx, password) })
			b.settle()
			a := s.device("alice", 1)
			steps := 0
			a.crash = func() bool { steps++; return steps == at }
			a.live()
			s.room("room1", "d", a.id, b.id)
			round := func() {
				for range 3 {
					a.live()
					b.settle()
					s.now = s.now.Add(11 * time.Second)
				}
			}
			round()
			for {
				err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
					return nil, a.m.Send(tx, quinta.Message{Room: "room1", Text: "one", Txn: "t1"})
				})
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				a.crash = nil
				a.boot()
			}
			round()
			a.crash = func() bool { steps++; return steps == at }
			b.send("room1", "two")
			round()
			b.wants("one", 1)
			a.wants("two", 1)
			if e := a.kinds(e2ee.EventSent); len(e) > 1 {
				t.Errorf("got %d EventSent", len(e))
			}
			if n := len(s.log); n != 2 {
				t.Errorf("got %d messages on the server, want 2", n)
			}
			if s.users[a.id].public == "" || len(s.rooms["room1"].subs[a.id].old) != 0 {
				t.Errorf("got a second room key")
			}
			done = steps < at
		})
		if done {
			if at < 30 {
				t.Errorf("got an end after %d steps", at)
			}
			return
		}
	}
}
