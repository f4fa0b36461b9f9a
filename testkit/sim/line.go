package sim

import (
	"math/rand/v2"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
)

// send carries out what is due until the line gives way.
func (r *run[In, Req, Ans]) send(d *device[In, Req, Ans], luck *rand.Rand) {
	if a := d.answer; a != nil {
		d.answer = nil
		r.tell("  %s gets a late answer", d.seat)
		if !r.done(d, a.req, a.ans) {
			return
		}
	}
	for _, q := range r.outgoing(d) {
		fate := luck.IntN(16)
		if fate == 0 {
			r.tell("  %s: %s: lost", d.seat, r.title(d, q))
			r.result.Count.Lost++
			r.keep(d.seat, q)
			r.lose(d, q)
			return
		}
		a := r.world.Handle(d.seat, q)
		switch fate {
		case 1:
			r.tell("  %s: %s: the answer is lost", d.seat, r.title(d, q))
			r.result.Count.Lost++
			r.lose(d, q)
			return
		case 2, 3:
			r.tell("  %s: %s: the answer is delayed", d.seat, r.title(d, q))
			r.result.Count.Delayed++
			d.answer = &answered[Req, Ans]{q, a}
			return
		case 4:
			r.tell("  %s: %s: twice", d.seat, r.title(d, q))
			r.result.Count.Repeated++
			a = r.world.Handle(d.seat, q)
		case 5:
			r.keep(d.seat, q)
		}
		r.tell("  %s: %s", d.seat, r.title(d, q))
		if !r.done(d, q, a) {
			return
		}
		if fate == 6 {
			r.result.Count.Repeated++
			if !r.done(d, q, a) {
				return
			}
		}
	}
}

// lose tells a machine, if it wants to know, that there was no answer.
func (r *run[In, Req, Ans]) lose(d *device[In, Req, Ans], q Req) {
	if a, told := r.world.Lost(); told {
		r.done(d, q, a)
	}
}

// keep holds a copy of a request up, to arrive later.
func (r *run[In, Req, Ans]) keep(s Seat, q Req) {
	if len(r.old) < maxOld {
		r.old = append(r.old, copied[Req]{s, q})
	}
}

// late has the copy of an old request arrive; no one waits for the answer.
func (r *run[In, Req, Ans]) late(luck *rand.Rand) {
	if len(r.old) == 0 {
		return
	}
	i := luck.IntN(len(r.old))
	c := r.old[i]
	r.old = append(r.old[:i], r.old[i+1:]...)
	r.result.Count.Delayed++
	for _, d := range r.active() {
		if d.seat == c.seat {
			r.tell("  a copy of %s: %s arrives", c.seat, r.title(d, c.req))
			r.world.Handle(c.seat, c.req)
		}
	}
}

// receive asks for what came, and takes it unless the line gives way.
func (r *run[In, Req, Ans]) receive(d *device[In, Req, Ans], luck *rand.Rand) {
	in, begins := d.incoming, false
	if d.incoming = nil; in == nil {
		fetched, from, ok := r.fetch(d)
		begins = from == ""
		if !ok {
			return
		}
		switch luck.IntN(8) {
		case 0:
			r.tell("  what came for %s is lost", d.seat)
			r.result.Count.Lost++
			return
		case 1, 2:
			r.tell("  what came for %s is delayed", d.seat)
			r.result.Count.Delayed++
			d.incoming = &fetched
			return
		}
		in = &fetched
	}
	r.tell("  %s receives", d.seat)
	if !r.take(d, *in) || begins || luck.IntN(8) != 0 {
		return
	}
	// Once more: it may be refused, and must not count. Who asks from the
	// beginning asks for all of it again.
	r.result.Count.Repeated++
	_, err := d.store.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, *in) })
	r.tell("  %s receives it once more: %v", d.seat, err)
	if err == errCrash {
		r.result.Count.Crashes++
		r.start(d)
	}
}

func (r *run[In, Req, Ans]) fetch(d *device[In, Req, Ans]) (in In, from string, ok bool) {
	err := d.store.view(func(tx e2ee.Tx) (err error) { from, err = r.world.Ask(tx, d.seat); return err })
	if err != nil {
		r.violate(RuleMachine, "%s: ask: %v", d.seat, err)
		return in, from, false
	}
	return r.world.Fetch(d.seat, from), from, true
}

func (r *run[In, Req, Ans]) take(d *device[In, Req, Ans], in In) bool {
	return r.update(d, "receive", func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, in) })
}

// settle has all receive and send over a good line until all is quiet.
func (r *run[In, Req, Ans]) settle() {
	const most = 6
	for range most {
		quiet := true
		for _, d := range r.active() {
			if in, _, ok := r.fetch(d); ok {
				r.take(d, in)
			}
			quiet = r.pump(d) && quiet
		}
		if quiet {
			return // no one asked anything after the others had received
		}
	}
}

// pump carries out what is due until nothing is, and reports whether nothing
// was.
func (r *run[In, Req, Ans]) pump(d *device[In, Req, Ans]) bool {
	const most = 60
	for i := range most {
		reqs := r.outgoing(d)
		if len(reqs) == 0 {
			return i == 0
		}
		for _, q := range reqs {
			r.tell("  %s: %s", d.seat, r.title(d, q))
			r.done(d, q, r.world.Handle(d.seat, q))
		}
	}
	r.violate(RuleMachine, "%s does not come to rest", d.seat)
	return false
}

// calm ends the bad times: all lines are good, no one dies, time passes, and
// at last everyone says something. What was broken has to be whole by then.
func (r *run[In, Req, Ans]) calm() {
	r.tell("all is calm")
	for _, d := range r.active() {
		d.store.fuse = 0
		if a := d.answer; a != nil {
			d.answer = nil
			r.done(d, a.req, a.ans)
		}
		d.incoming = nil
	}
	pass := func(by time.Duration) {
		r.clock = r.clock.Add(by)
		r.settle()
	}
	everybody := func(last bool) {
		for _, d := range r.active() {
			for _, room := range r.rooms() {
				if r.members[room][d.seat.User] {
					r.say(d, room, last)
				}
			}
		}
		r.settle()
	}
	pass(10 * time.Minute)
	pass(10 * time.Minute)
	everybody(false)
	pass(2 * time.Hour)
	everybody(false)
	pass(10 * time.Minute)
	if r.result.Count.Restores > 0 {
		// A store that was put back lacks keys that came to it in between. At
		// the latest with the next keys of a sender it reads them again.
		for _, d := range r.active() {
			for _, room := range r.rooms() {
				r.update(d, "renew", func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, r.world.Renew(d.m, tx, room) })
			}
		}
	}
	everybody(true)
	pass(10 * time.Minute)
}
