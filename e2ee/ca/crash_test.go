package ca_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
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
	if k.after && k.now() {
		d.do(f)
		d.boot()
		return false
	}
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
	return true
}

// live sends and receives until nothing is left to do, whatever ends the
// process meanwhile.
func (d *device) live(k *killer) {
	d.p.t.Helper()
	for range 300 {
		var due []ca.Req
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
		var in ca.In
		if !d.try(k, func(tx e2ee.Tx) ([]e2ee.Event, error) {
			after, err := d.m.Since(tx)
			if err != nil {
				return nil, err
			}
			in = d.p.mailbox(d, after)
			return d.m.Receive(tx, in)
		}) || len(in.Items) > 0 {
			continue
		}
		return
	}
	d.p.t.Fatalf("%s: there is no end", d)
}

// act does something that the user asks for, and again if the process ended
// before it was kept. done tells whether it was.
func (d *device) act(k *killer, done func(tx e2ee.Tx) bool, f func(tx e2ee.Tx) error) {
	for !d.try(k, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, f(tx) }) {
		kept := false
		if err := d.store.View(context.Background(), func(tx e2ee.Tx) error { kept = done(tx); return nil }); err != nil {
			d.p.t.Fatal(err)
		}
		if kept {
			return
		}
	}
}

// prefixed tells whether the store has a key with a prefix whose value contains
// a text.
func prefixed(tx e2ee.Tx, prefix, text string) bool {
	for e, err := range tx.All(prefix) {
		if err == nil && bytes.Contains(e.Value, []byte(text)) {
			return true
		}
	}
	return false
}

// TestCrashAnywhere ends a process at each of its steps, in a life with
// enrolment, messages, packets, a renewal, a backup and a new device of the
// peer. Nothing is lost, nothing is read twice, a call is repeated with the same
// bytes, and no counter of a session is used for two packets.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for _, victim := range []quinta.UserID{alice, bob} {
			t.Run(fmt.Sprintf("%s/after=%v", victim, after), func(t *testing.T) {
				t.Parallel()
				stride := 1
				if after { // the same states but for what was sent in between
					stride = 3
				}
				for at := 1; ; at += stride {
					k := &killer{at: at, after: after}
					crashLife(t, k, victim)
					if !k.killed {
						if at < 20 {
							t.Fatalf("the life has %d steps only", at)
						}
						return
					}
				}
			})
		}
	}
}

func crashLife(t *testing.T, k *killer, victim quinta.UserID) {
	t.Helper()
	p := newPost(t, 20)
	w := &watch{t: t, bodies: map[string]string{}, refused: map[string]bool{}, counters: map[string]string{}}
	p.bend = w.see
	policy := ca.Policy{Sessions: true}
	a, b := p.device(alice, "A1", policy), p.device(bob, "B1", policy)
	p.boxes[a.String()], p.boxes[b.String()] = nil, nil
	of := func(d *device) *killer {
		if d.user == victim {
			return k
		}
		return &killer{}
	}
	live := func() {
		a.live(of(a))
		b.live(of(b))
		a.live(of(a))
	}
	live()
	secret := seal.FromRecovery([32]byte{3})
	b.act(of(b), func(tx e2ee.Tx) bool { return prefixed(tx, "backupsecret", "") }, func(tx e2ee.Tx) error { return b.m.EnableBackup(tx, secret) })
	conv := ca.Direct(alice, bob, cert.ProfileSecure)
	a.act(of(a), func(tx e2ee.Tx) bool { return prefixed(tx, "conv/", "") }, func(tx e2ee.Tx) error { _, err := a.m.Direct(tx, bob); return err })
	say := func(d *device, text string) {
		d.act(of(d), func(tx e2ee.Tx) bool { return prefixed(tx, "outbox/", `"`+text+`"`) }, func(tx e2ee.Tx) error {
			return d.m.Send(tx, quinta.Message{Room: conv, Text: text})
		})
		live()
	}
	say(a, "1")
	say(a, "2")
	say(b, "3")
	b.act(of(b), func(tx e2ee.Tx) bool { return prefixed(tx, "own/", `"replaces"`) }, func(tx e2ee.Tx) error { return b.m.Renew(tx) })
	live()
	say(a, "4")
	second := p.login(bob, "B2", policy)
	say(a, "5")
	say(b, "6")
	p.later(2 * time.Minute)
	live()
	second.settle()
	b.reads("1", "2", "4", "5")
	a.reads("3", "6")
	second.reads("5", "6")
	if len(p.history[conv]) != 6 {
		t.Errorf("the server has %d messages, want 6", len(p.history[conv]))
	}
	ring := must(seal.OpenBackup(p.backup[bob].Sealed, secret))
	for _, key := range append(b.keys("active", cert.UseEncrypt), b.keys("grace", cert.UseEncrypt)...) {
		if !bytes.Contains(ring, must(json.Marshal(key.Cert))) {
			t.Error("the backup lacks a key")
		}
	}
}

// A watch is a server that notes what it is sent.
type watch struct {
	t *testing.T
	// bodies are the deliveries by id, refused those that were sealed again.
	bodies  map[string]string
	refused map[string]bool
	// counters are packets by session, device and counter.
	counters map[string]string
}

func (w *watch) see(d *device, r ca.Req) (ca.Ans, bool) {
	if r.Kind != ca.ReqMessage {
		return ca.Ans{}, false
	}
	id, body := string(r.Message), string(r.Deliver.Body)
	if have, ok := w.bodies[id]; ok && have != body && !w.refused[id] {
		w.t.Errorf("%s: the message %s was sent with other bytes", d, id)
	}
	w.bodies[id] = body
	if r.Deliver.Form == ca.FormSession {
		counter := fmt.Sprintf("%s %s %d", must(seal.PacketSession(r.Deliver.Body)), d, binary.BigEndian.Uint64(r.Deliver.Body[17:25]))
		if have, ok := w.counters[counter]; ok && have != body {
			w.t.Errorf("a counter was used for two packets: %s", counter)
		}
		w.counters[counter] = body
	}
	a := d.p.deliver(d, r)
	w.refused[id] = a.Code == ca.CodeStaleKeys
	return a, true
}
