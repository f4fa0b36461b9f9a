package keysrv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// A killer ends the process of a device at one of its steps: before what the
// step wrote is committed, or right after.
type killer struct {
	at, seen int
	after    bool
	killed   bool
}

func (k *killer) now() bool {
	k.seen++
	if k.seen != k.at {
		return false
	}
	k.killed = true
	return true
}

// try runs one step; a process that ended is started again.
func (d *device) try(k *killer, f func(tx e2ee.Tx) ([]e2ee.Event, error)) bool {
	d.p.t.Helper()
	if !k.after {
		d.crash = k.now
	}
	err := d.update(f)
	d.crash = nil
	if errors.Is(err, errCrash) {
		d.boot()
		return false
	}
	if err != nil {
		d.p.t.Fatalf("%s: %v", d, err)
	}
	if k.after && k.now() {
		d.boot()
		return false
	}
	return true
}

// live sends and receives until nothing is left to do, whatever ends the process
// meanwhile.
func (d *device) live(k *killer) {
	d.p.t.Helper()
	for range 300 {
		var due []keysrv.Req
		if !d.try(k, func(tx e2ee.Tx) (_ []e2ee.Event, err error) { due, err = d.m.Outgoing(tx); return nil, err }) {
			continue
		}
		ok := true
		for _, r := range due {
			a := d.p.do(d, r)
			if ok = d.try(k, func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, a) }); !ok {
				break
			}
		}
		if !ok || len(due) > 0 {
			continue
		}
		news := false
		if !d.try(k, func(tx e2ee.Tx) ([]e2ee.Event, error) {
			after, err := d.m.Archive(tx)
			if err != nil {
				return nil, err
			}
			in := d.p.fetch(d.user, after)
			news = in.Archive != after
			return d.m.Receive(tx, in)
		}) || news {
			continue
		}
		return
	}
	d.p.t.Fatalf("%s: there is no end", d)
}

// kept reports whether a record whose key begins with prefix holds a text.
func (d *device) kept(prefix, text string) (found bool) {
	err := d.store.View(context.Background(), func(tx e2ee.Tx) error {
		entries, err := e2ee.Entries(tx, prefix)
		for _, e := range entries {
			found = found || text == "" || containsText(e.Value, text)
		}
		return err
	})
	if err != nil {
		d.p.t.Fatal(err)
	}
	return found
}

func containsText(b []byte, text string) bool {
	for i := 0; i+len(text) <= len(b); i++ {
		if string(b[i:i+len(text)]) == text {
			return true
		}
	}
	return false
}

// TestCrashAnywhere ends a process at each of its steps, in a life with
// publication, keys, messages, a new device that is approved, and copies for it.
// Nothing is lost or read twice, and what left under an id or an object is
// repeated with the same bytes.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for victim := range 3 {
			t.Run(fmt.Sprintf("%d/after=%v", victim, after), func(t *testing.T) {
				t.Parallel()
				stride := 1
				if after { // the same states but for what was sent in between
					stride = 3
				}
				for at := 1; ; at += stride {
					k := &killer{at: at, after: after}
					crashLife(t, k, victim)
					if !k.killed {
						if at < 15 {
							t.Fatalf("the life has %d steps only", at)
						}
						return
					}
				}
			})
		}
	}
}

func crashLife(t *testing.T, k *killer, victim int) {
	t.Helper()
	p := newPost(t)
	stanzas, nonces := map[string]string{}, map[string]string{}
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if r.Kind != keysrv.ReqMessage {
			return keysrv.Ans{}, false
		}
		bytes := r.Packet.ObjectID + r.Packet.Text()
		if have, ok := stanzas[string(r.StanzaID)]; ok && have != bytes {
			t.Errorf("%s: a stanza left twice with other bytes", d)
		}
		stanzas[string(r.StanzaID)] = bytes
		nonce := r.Packet.ObjectID + string(r.Packet.Payload[1:13])
		if have, ok := nonces[nonce]; ok && have != bytes {
			t.Errorf("%s: a nonce was used for two payloads", d)
		}
		nonces[nonce] = bytes
		return keysrv.Ans{}, false
	}
	a, b, c := p.device(romeo, 1, keysrv.Policy{}), p.device(juliet, 2, keysrv.Policy{}), p.device(juliet, 3, keysrv.Policy{})
	of := func(i int) *killer {
		if i == victim {
			return k
		}
		return &killer{}
	}
	live := func() {
		for range 2 {
			a.live(of(0))
			b.live(of(1))
		}
	}
	// act does something that the user asks for, again if it was not kept.
	act := func(i int, d *device, done func() bool, f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
		for !d.try(of(i), f) {
			if done() {
				return
			}
		}
	}
	live()
	room, back := quinta.RoomID(juliet), quinta.RoomID(romeo)
	act(0, a, func() bool { return a.kept("conv/", "") }, func(tx e2ee.Tx) ([]e2ee.Event, error) { _, ev, err := a.m.Direct(tx, juliet); return ev, err })
	say := func(i int, d *device, r quinta.RoomID, text string) {
		act(i, d, func() bool { return d.kept("outbox/", `"`+text+`"`) }, func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, d.m.Send(tx, quinta.Message{Room: r, Text: text})
		})
		live()
	}
	say(0, a, room, "1")
	say(0, a, room, "2")
	say(1, b, back, "3")
	c.live(of(2))
	b.hint(juliet)
	act(1, b, func() bool { return b.kept("req/", `"approve"`) }, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Approve(tx, c.id) })
	live()
	for range 3 {
		p.later(time.Minute)
		c.live(of(2))
		live()
	}
	a.hint(juliet)
	say(0, a, room, "4")
	c.live(of(2))
	b.reads("1", "2", "4")
	a.reads("3")
	got := map[string]int{}
	for _, e := range c.take(e2ee.EventMessage) {
		got[e.Message.Text]++
	}
	for _, text := range []string{"1", "2", "3", "4"} {
		if got[text] != 1 {
			t.Errorf("the new device read %v, want each message once", got)
		}
	}
}
