package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// title names a request for the trace.
func (r *run[In, Req, Ans]) title(d *device[In, Req, Ans], q Req) string {
	if !r.trace {
		return ""
	}
	s := r.sight(d, q)
	if s.Txn != "" {
		return fmt.Sprintf("%s with %s", s.Name, s.Txn)
	}
	return s.Name
}

// sight returns what a request shows.
func (r *run[In, Req, Ans]) sight(d *device[In, Req, Ans], q Req) (s Sight) {
	err := d.store.view(func(tx e2ee.Tx) error { s = r.world.Look(tx, d.seat, q); return nil })
	if err != nil {
		panic(err) // there is no such error
	}
	return s
}

// look notes what a request shows: words in clear, keys that were used, and
// what the sender knew when it sealed a message.
func (r *run[In, Req, Ans]) look(d *device[In, Req, Ans], q Req) {
	s := r.sight(d, q)
	if at := bytes.Index(s.Wire, []byte("words-")); at >= 0 {
		r.violate(RuleSecret, "%s: %s has %q in clear", d.seat, s.Name, s.Wire[at:min(len(s.Wire), at+20)])
	}
	for _, u := range s.Uses {
		if other, used := r.uses[u.Key]; used && other != u.For {
			r.violate(RuleKeys, "%s: %s: %s was used before, for something else", d.seat, s.Name, u.Key)
		}
		r.uses[u.Key] = u.For
	}
	m := r.byTxn[s.Txn]
	if m == nil {
		return
	}
	err := d.store.view(func(tx e2ee.Tx) error {
		knows, err := r.world.Knows(tx, d.seat)
		// The first time that it is seen, it was just sealed. It is sealed again
		// only by a store that was put back, which knows less.
		if err == nil && (!m.known || knows < m.knows) {
			m.known, m.knows = true, knows
		}
		return err
	})
	if err != nil {
		r.violate(RuleMachine, "%s: %v", d.seat, err)
	}
}

// check holds what everyone saw against the rules.
func (r *run[In, Req, Ans]) check() {
	accepted := map[quinta.TxnID]Accepted{}
	for _, a := range r.world.Accepted() {
		if _, twice := accepted[a.Txn]; twice {
			r.violate(RuleReads, "%s is at the server twice", a.Txn)
		}
		accepted[a.Txn] = a
	}
	r.result.Count.Acknowledged = len(accepted)
	for _, how := range r.world.Misused() {
		r.violate(RuleKeys, "%s", how)
	}
	r.checkSent(accepted)
	for _, d := range r.devices {
		r.checkReads(d, accepted)
		r.checkSecret(d, accepted)
	}
	r.checkLists()
}

// A line is what one device says in one conversation: the rule of order holds
// within it.
type line struct {
	from Seat
	room quinta.RoomID
}

func (m *sent) line() line { return line{m.from, m.room} }

// checkSent holds that what was said came to the server, in its order.
func (r *run[In, Req, Ans]) checkSent(accepted map[quinta.TxnID]Accepted) {
	last := map[line]int{}
	for _, a := range r.world.Accepted() {
		m := r.byTxn[a.Txn]
		if m == nil {
			r.violate(RuleReads, "nobody said %s", a.Txn)
			continue
		}
		if a.Room != m.room {
			r.violate(RuleReads, "%s, said in %s, came to %s", m.txn, m.room, a.Room)
		}
		if d := r.deviceAt(m.from); m.n < last[m.line()] && !d.restored {
			r.violate(RuleOrder, "%s: %s came to the server after what was said later", m.from, m.text)
		}
		last[m.line()] = m.n
	}
	for _, m := range r.sent {
		d := r.deviceAt(m.from)
		if _, ok := accepted[m.txn]; !ok && m.last {
			r.violate(RuleReads, "%s: %s never came to the server", d.seat, m.text)
		}
	}
}

func (r *run[In, Req, Ans]) deviceAt(s Seat) *device[In, Req, Ans] {
	for _, d := range r.devices {
		if d.seat == s {
			return d
		}
	}
	return nil
}

// checkReads holds what one device read against what it had to.
func (r *run[In, Req, Ans]) checkReads(d *device[In, Req, Ans], accepted map[quinta.TxnID]Accepted) {
	read, last := map[*sent]int{}, map[line]int{}
	waited := map[quinta.MessageID]bool{}
	for _, e := range d.store.seen {
		if e.Kind == e2ee.EventUndecryptable {
			waited[e.Message.ID] = true
		}
		if e.Kind != e2ee.EventMessage {
			continue
		}
		r.result.Count.Read++
		m := r.byText[r.world.Text(e.Message)]
		if m == nil || m.from.User != e.Message.Sender || m.from.Device != e.Message.Device && e.Message.Device != "" {
			r.violate(RuleReads, "%s read what nobody said: %q of %s", d.seat, r.world.Text(e.Message), e.Message.Sender)
			continue
		}
		if read[m]++; read[m] > 1 {
			r.violate(RuleReads, "%s read %s %d times", d.seat, m.text, read[m])
		}
		if e.Message.Room != m.room {
			r.violate(RuleReads, "%s read %s of %s in %s", d.seat, m.text, m.room, e.Message.Room)
		}
		if waited[e.Message.ID] {
			continue // it was told in its place, and its key came later
		}
		if m.n < last[m.line()] && !d.restored {
			r.violate(RuleOrder, "%s read %s of %s after what was said later", d.seat, m.text, m.from)
		}
		last[m.line()] = m.n
	}
	if d.gone {
		return
	}
	for _, m := range r.sent {
		a, ok := accepted[m.txn]
		must, _ := r.world.Entitled(d.seat, a, m.knows)
		// A store that was put back has lost keys, and sessions of both sides do
		// not fit any more: what goes between the two until that is mended may
		// be lost. When all is calm it is mended.
		mended := m.last || !d.restored && !r.deviceAt(m.from).restored
		if ok && read[m] == 0 && must && mended {
			r.violate(RuleReads, "%s did not read %s of %s%s", d.seat, m.text, m.from, r.why(d, m))
		}
	}
}

// why returns what a device was told of messages that it could not read.
func (r *run[In, Req, Ans]) why(d *device[In, Req, Ans], m *sent) string {
	s := ""
	for _, e := range d.store.seen {
		if e.Kind == e2ee.EventUndecryptable && e.Message.Sender == m.from.User {
			s = fmt.Sprintf("; the last that it could not read of that user: %s %s", e.Reason, e.Detail)
		}
	}
	return s
}

// checkSecret shows a device all that was ever sent.
func (r *run[In, Req, Ans]) checkSecret(d *device[In, Req, Ans], accepted map[quinta.TxnID]Accepted) {
	seen := slices.Clone(d.store.seen)
	d.store.fuse = 0
	if show, ok := r.world.Everything(d.seat); ok {
		err := d.store.view(func(tx e2ee.Tx) error {
			events, err := show(d.m, tx)
			seen = append(seen, events...)
			return err
		})
		if err != nil {
			r.violate(RuleMachine, "%s: %v", d.seat, err)
		}
	}
	told := map[*sent]bool{}
	for _, e := range seen {
		m := r.byText[r.world.Text(e.Message)]
		if e.Kind != e2ee.EventMessage || m == nil || told[m] {
			continue
		}
		told[m] = true
		a, ok := accepted[m.txn]
		if _, may := r.world.Entitled(d.seat, a, m.knows); ok && !may {
			r.violate(RuleSecret, "%s can read %s of %s", d.seat, m.text, m.from)
		}
	}
}

// checkLists holds what each device knows of the others against the server.
func (r *run[In, Req, Ans]) checkLists() {
	for _, d := range r.active() {
		for _, u := range r.peers(d.seat.User) {
			var got []string
			err := d.store.view(func(tx e2ee.Tx) (err error) { got, err = r.world.Listed(d.m, tx, u); return err })
			if err != nil {
				r.violate(RuleMachine, "%s: %v", d.seat, err)
			}
			if want := r.world.Published(u); !slices.Equal(got, want) {
				r.violate(RuleLists, "%s knows devices %v of %s, want %v", d.seat, got, u, want)
			}
		}
	}
}

// peers returns the users that share a conversation with u, u among them, in
// order.
func (r *run[In, Req, Ans]) peers(u quinta.UserID) []quinta.UserID {
	all := map[quinta.UserID]bool{}
	for _, in := range r.members {
		if in[u] {
			maps.Copy(all, in)
		}
	}
	return slices.Sorted(maps.Keys(all))
}
