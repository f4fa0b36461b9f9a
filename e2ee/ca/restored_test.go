package ca_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// TestRestored puts alice's store back to an old copy. No number or counter of
// it comes twice, what she says is read, and what she had read since comes
// again out of the history; a message that was on its way in the copy is sent
// once.
func TestRestored(t *testing.T) {
	t.Parallel()
	for _, policy := range []ca.Policy{{}, {Sessions: true}} {
		p, a, b, conv := couple(t, policy)
		w := &watch{t: t, bodies: map[string]string{}, refused: map[string]bool{}, counters: map[string]string{}}
		p.bend = w.see
		a.says(conv, "one")
		a.says(conv, "two")
		b.settle()
		b.reads("one", "two")
		a.settle()
		a.post(conv, "three")
		copied := a.store.Snapshot()
		a.flush()
		a.says(conv, "four")
		b.settle()
		b.reads("three", "four")
		b.says(b.direct(alice), "five")
		a.settle()
		a.reads("five")

		p.later(time.Minute)
		a.store = copied
		a.boot()
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Restored(tx) })
		// The outbox of the copy has "three" under its id, which the server knows.
		for id := range w.bodies {
			w.refused[id] = true
		}
		a.settle()
		a.reads("five")
		a.says(conv, "six")
		a.says(conv, "seven")
		b.settle()
		b.reads("six", "seven")
		if n := len(p.history[conv]); n != 7 {
			t.Errorf("the server has %d messages, want 7", n)
		}
		seen := map[string]bool{}
		for _, it := range p.history[conv] {
			if it.Form != ca.FormSession {
				continue
			}
			counter := fmt.Sprint(must(seal.PacketSession(it.Body)), it.Device, binary.BigEndian.Uint64(it.Body[17:25]))
			if seen[counter] {
				t.Errorf("a counter was used twice: %s", counter)
			}
			seen[counter] = true
		}
	}
}

// TestMessageAfterRenewal: a message and a renewal that come at once do not
// cross: what the old key signed is not sent after its end.
func TestMessageAfterRenewal(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"message", "renewal"} {
		p, a, b, conv := couple(t, ca.Policy{})
		p.later(700 * time.Millisecond)
		if first == "message" {
			a.post(conv, "hello")
		}
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Renew(tx) })
		if first == "renewal" {
			a.post(conv, "hello")
		}
		a.flush()
		p.later(2 * time.Minute)
		b.settle()
		b.reads("hello")
		if a.keys("active", cert.UseSign)[0].ID == "" {
			t.Error("the key was not renewed")
		}
	}
}

// TestWaitsItsTurn: what a device says is shown in its order, also where the
// first message had to wait for something and the next came later.
func TestWaitsItsTurn(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.poll() // the conversation is not known: it waits
	held := b.due()
	a.says(conv, "two")
	for _, r := range held { // only the conversation comes, the sender's keys do not
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Done(tx, r, p.do(b, r)) })
	}
	b.poll()
	b.reads()
	b.settle()
	b.reads("one", "two")
	if n := b.pending(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// pending is how many messages wait.
func (d *device) pending() (n int) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { n, err = d.m.Pending(tx); return nil, err })
	return n
}

// TestRenewedThenRemoved: a device renews its keys, says something, and is
// removed before the other one has looked: what it said before is read.
func TestRenewedThenRemoved(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	second := p.login(alice, "A2", ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.reads("one")
	p.later(time.Hour)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Renew(tx) })
	a.settle()
	a.says(conv, "two")
	p.later(time.Minute)
	for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
		id := a.keys("active", use)[0].ID
		second.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, second.m.Revoke(tx, id, "cessation") })
	}
	second.flush()
	b.settle()
	b.reads("two")
	if list := b.devices(alice); len(list) != 1 || list[0].ID != "A2" {
		t.Errorf("got %+v, want the second device alone", list)
	}
}

// TestKeysChangeWhileAsked: a list that was requested before the keys changed
// does not count as current.
func TestKeysChangeWhileAsked(t *testing.T) {
	t.Parallel()
	p := newPost(t, 12)
	a := p.login(alice, "A1", ca.Policy{})
	b, second := p.login(bob, "B1", ca.Policy{}), p.login(bob, "B2", ca.Policy{})
	a.settle()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Track(tx, bob) })
	due := a.due()
	answers := []ca.Ans{}
	for _, r := range due {
		answers = append(answers, p.do(a, r))
	}
	id := second.keys("active", cert.UseEncrypt)[0].ID
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Revoke(tx, id, "cessation") })
	b.flush()
	a.poll()
	for i, r := range due {
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Done(tx, r, answers[i]) })
	}
	a.flush()
	conv := a.direct(bob)
	tries := 0
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if d == a && r.Kind == ca.ReqMessage {
			tries++
		}
		return ca.Ans{}, false
	}
	a.says(conv, "one")
	if tries != 1 {
		t.Errorf("got %d tries, want that the revoked key was known", tries)
	}
}

// TestAddedAgain: a user who left a conversation and is added again is in it
// when the next message comes.
func TestAddedAgain(t *testing.T) {
	t.Parallel()
	p := newPost(t, 13)
	a, b := p.login(alice, "A1", ca.Policy{}), p.login(bob, "B1", ca.Policy{})
	var conv quinta.RoomID
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		conv, err = a.m.Create(tx, []quinta.UserID{bob})
		return nil, err
	})
	a.says(conv, "one")
	b.settle()
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Leave(tx, conv) })
	b.settle()
	a.says(conv, "without")
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Add(tx, conv, []quinta.UserID{bob}) })
	a.flush()
	p.later(2 * time.Minute)
	a.says(conv, "two")
	b.settle()
	b.reads("one", "two")
	b.says(conv, "three")
	a.settle()
	a.reads("three")
}
