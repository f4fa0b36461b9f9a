package secretchat

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// checkWire holds what both devices ever sent against the rules: an outer id
// has one packet, and a number of a chat has one sealed form.
func (p *play) checkWire() {
	p.t.Helper()
	for _, d := range []*device{p.a, p.b} {
		ids := map[int64]string{}
		for _, q := range d.wire {
			if old, ok := ids[q.RandomID]; ok && old != string(q.Data) {
				p.t.Errorf("%s: two packets under one random_id", d.name)
			}
			ids[q.RandomID] = string(q.Data)
		}
	}
}

// TestCrashAnywhere ends a process at each of its steps, before or after the
// step is committed, in a life with both agreements, messages, a gap and a
// re-key. Nothing is lost, read twice or out of order.
func TestCrashAnywhere(t *testing.T) {
	for at := 1; ; at++ {
		if !crashAt(t, at) {
			if at < 40 {
				t.Fatalf("only %d steps were tried", at)
			}
			return
		}
	}
}

// crashAt reports whether step at came at all.
func crashAt(t *testing.T, at int) bool {
	p := newPlay(t, 200)
	seen, crashed := 0, false
	src := p.a.m.env.Rand
	for _, d := range []*device{p.a, p.b} {
		d.crash = func() bool { seen++; return seen == at }
	}
	try := func(d *device, f func(tx e2ee.Tx) ([]e2ee.Event, error)) bool {
		err := d.step(f)
		if errors.Is(err, errCrash) {
			crashed = true
			d.boot(src)
			return false
		}
		if err != nil {
			t.Fatalf("crash at %d: %s: %v", at, d.name, err)
		}
		return true
	}
	must := func(d *device, f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
		for !try(d, f) {
		}
	}
	live := func() {
		for range 500 {
			busy := false
			for _, d := range []*device{p.a, p.b} {
				var due []Req
				must(d, func(tx e2ee.Tx) (_ []e2ee.Event, err error) { due, err = d.m.Outgoing(tx); return nil, err })
				for _, r := range due {
					busy = true
					ans := p.serve(d, r)
					// A lost answer: the call is due again, with the same bytes.
					if !try(d, func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, ans) }) {
						break
					}
				}
				if len(d.queue) > 0 {
					busy = true
					in := In{Updates: slices.Clone(d.queue)}
					n := len(d.queue)
					if try(d, func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, in) }) {
						d.queue = d.queue[n:]
					}
				}
			}
			if !busy {
				return
			}
		}
		t.Fatalf("crash at %d: there is no end", at)
	}
	var id ChatID
	must(p.a, func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		id, err = p.a.m.Create(tx, Person{ID: p.b.id})
		return nil, err
	})
	room := quinta.RoomID(id.String())
	live()
	must(p.b, func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
	live()
	say := func(d *device, text string) {
		must(d, func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, d.m.Send(tx, quinta.Message{Room: room, Kind: quinta.MessageText, Text: text})
		})
	}
	lost := 0
	p.spoil = func(to *device, q Packet) []Packet {
		if lost++; lost == 2 {
			return nil
		}
		return []Packet{q}
	}
	say(p.a, "1")
	say(p.b, "one")
	live()
	must(p.a, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.a.m.Rekey(tx, room) })
	say(p.a, "2")
	live()
	say(p.b, "two")
	say(p.a, "3")
	live()
	p.b.crash, p.a.crash = nil, nil
	p.b.wantRead("1", "2", "3")
	p.a.wantRead("one", "two")
	p.checkWire()
	return crashed
}

// TestSimulation plays lives with loss, doubles, disorder, crashes and re-keys
// from both sides. Everything arrives, once, in order, and both end with one
// key.
func TestSimulation(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		simulate(t, 1000+seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	p := newPlay(t, seed)
	room := p.open()
	quiet := false
	p.spoil = func(to *device, q Packet) []Packet {
		switch n := p.rng.IntN(12); {
		case quiet || n > 3:
			return []Packet{q}
		case n == 0:
			return nil
		case n == 1:
			return []Packet{q, q}
		}
		// Before what is there already.
		to.queue = slices.Insert(to.queue, p.rng.IntN(len(to.queue)+1), Update{Packet: &q})
		return nil
	}
	src := p.a.m.env.Rand
	want := map[*device][]string{}
	for i := range 40 {
		d := p.a
		if p.rng.IntN(2) == 0 {
			d = p.b
		}
		switch p.rng.IntN(8) {
		case 0:
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Rekey(tx, room) })
		case 1:
			d.boot(src)
		default:
			text := fmt.Sprint(seed, "/", i)
			d.says(room, text)
			want[d.peer()] = append(want[d.peer()], text)
		}
		if p.rng.IntN(3) == 0 {
			p.halfLive(p.rng)
		}
	}
	// What was lost at the end is noticed by the next message.
	quiet = true
	for range 3 {
		p.clock = p.clock.Add(2 * askAgainAfter)
		for _, d := range []*device{p.a, p.b} {
			text := fmt.Sprint(seed, "/end")
			d.says(room, text)
			want[d.peer()] = append(want[d.peer()], text)
		}
		p.live()
	}
	for _, d := range []*device{p.a, p.b} {
		d.wantOpen(room)
		d.wantRead(want[d]...)
	}
	p.checkWire()
	a, b := p.a.record(room), p.b.record(room)
	if base64Of(a.Key) != base64Of(b.Key) || a.Exchange != nil || b.Exchange != nil {
		t.Errorf("seed %d: the keys differ, or an exchange is open", seed)
	}
}

// halfLive lets one device do one thing, and may lose the answer.
func (p *play) halfLive(rng *rand.Rand) {
	p.t.Helper()
	for _, d := range []*device{p.a, p.b} {
		for _, r := range d.due() {
			ans := p.serve(d, r)
			if rng.IntN(6) == 0 {
				break
			}
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, ans) })
		}
		if len(d.queue) > 0 && rng.IntN(3) > 0 {
			in := In{Updates: d.queue}
			d.queue = nil
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, in) })
		}
	}
}

// TestViewOnly: looking at the chats changes nothing.
func TestViewOnly(t *testing.T) {
	p := newPlay(t, 300)
	room := p.open()
	empty := newPlay(t, 301).a
	if err := empty.store.View(context.Background(), func(tx e2ee.Tx) error { _, err := empty.m.Chats(tx); return err }); err != nil {
		t.Errorf("a view of a new store wrote: %v", err)
	}
	if err := p.a.store.View(context.Background(), func(tx e2ee.Tx) error {
		if _, err := p.a.m.Chat(tx, room); err != nil {
			return err
		}
		if _, err := p.a.m.Chats(tx); err != nil {
			return err
		}
		if _, err := p.a.m.Expires(tx); err != nil {
			return err
		}
		_, _, err := p.a.m.Position(tx)
		return err
	}); err != nil {
		t.Errorf("a view wrote: %v", err)
	}
}
