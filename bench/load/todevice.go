package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// cipherSize is how long the ciphertext of a to-device message is: that of a
// room key under Olm.
const cipherSize = 500

// appendContent writes the content of a to-device message.
func appendContent(b []byte, m mark) []byte {
	b = append(b, `{"algorithm":"m.olm.v1.curve25519-aes-sha2","ciphertext":{"`...)
	b = append(append(b, key43...), `":{"body":"`...)
	b = append(append(appendMark(b, deviceMark, m), cipher...), `","type":1}},"sender_key":"`...)
	return append(append(b, key43...), `"}`...)
}

var (
	key43  = filler(43)
	cipher = filler(cipherSize)
)

// A sender makes the requests of one client.
type sender struct {
	w    *world
	l    *ledger
	body []byte
	run  string
}

// senders makes one for each client. run tells the transaction ids of one part
// from those of another.
func (w *world) senders(l *ledger, run string) []*sender {
	out := make([]*sender, clients)
	for i := range out {
		out[i] = &sender{w: w, l: l, run: run}
	}
	return out
}

// send sends one message of client i to the devices of so many seats, which
// begin at first and are neighbours.
func (s *sender) send(c *client, i, first, n int) error {
	to := make([]int32, n)
	for k := range to {
		to[k] = int32((first + k) % len(s.w.seats))
	}
	m := s.l.next(i, to)
	b := append(s.body[:0], `{"messages":{`...)
	open := "" // the user whose devices are being written
	for _, k := range to {
		seat := s.w.seats[k]
		switch open {
		case seat.user:
			b = append(b, ',')
		case "":
			b = fmt.Appendf(b, `%q:{`, seat.user)
		default:
			b = fmt.Appendf(b, `},%q:{`, seat.user)
		}
		open = seat.user
		b = append(append(append(b, '"'), seat.device...), `":`...)
		b = appendContent(b, m)
	}
	s.body = append(b, "}}}"...)
	from := s.w.seats[i%len(s.w.seats)]
	_, err := c.ok("PUT", fmt.Sprintf("/_matrix/client/v3/sendToDevice/m.room.encrypted/%s-%d-%d", s.run, i, m.n), from.token, s.body)
	if err == nil {
		s.l.acked(m)
	}
	return err
}

// toDevice measures sending to one device and to a hundred, and then reading;
// all that was sent must arrive once and in order.
func toDevice(ctx context.Context, o *options, w *world, r *report) error {
	l := newLedger()
	seats := w.targets()
	// A hundred neighbours reach beyond the targets.
	reached := make([]int, min(len(w.seats), len(seats)+100))
	for i := range reached {
		reached[i] = i
	}
	if err := w.begin(ctx, w.seatsAt(reached)); err != nil {
		return err
	}
	ss := w.senders(l, "load")
	for _, p := range []struct {
		name string
		n    int
	}{{opSend1, 1}, {opSend100, 100}} {
		var t tally
		err := w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error {
			return ss[i].send(c, i, seats[rand.IntN(len(seats))], min(p.n, len(seats)))
		})
		if err != nil {
			return err
		}
		r.add(t.sample(p.name, w.store.kind, w.users))
	}
	if err := w.drain(ctx, l, reached); err != nil {
		return err
	}
	if err := w.drainForty(ctx, o, l, ss, seats, r); err != nil {
		return err
	}
	n, err := l.check()
	r.check(w.store.kind, fmt.Sprintf("to-device: every message once and in order (%d users)", w.users), fmt.Sprintf("%d messages", n), err)
	return nil
}

// drainForty fills mailboxes with forty messages each and measures the syncs
// that read them.
func (w *world) drainForty(ctx context.Context, o *options, l *ledger, ss []*sender, seats []int, r *report) error {
	const forty = 40
	var t tally
	for t.wall < o.window {
		// Whole hundreds, so that every mailbox holds forty.
		hundreds := len(seats) / 100
		jobs := hundreds * forty
		var next atomic.Int64
		var skip tally
		err := w.drive(ctx, &skip, callTime, func(_ context.Context, i int, c *client) error {
			k := int(next.Add(1)) - 1
			if k >= jobs {
				return errDone
			}
			return ss[i].send(c, i, seats[100*(k%hundreds)], 100)
		})
		if err != nil {
			return err
		}
		var at atomic.Int64
		err = w.drive(ctx, &t, callTime, func(_ context.Context, i int, c *client) error {
			k := int(at.Add(1)) - 1
			if k >= 100*hundreds {
				return errDone
			}
			answer, err := w.seats[seats[k]].sync(c)
			if err != nil {
				return err
			}
			if n := l.arrived(seats[k], answer); n != forty {
				return fmt.Errorf("a sync gave %d messages, want %d", n, forty)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.add(t.sample(opDrain, w.store.kind, w.users))
	return nil
}

// targets are the seats that messages and claims go to: all of a small world,
// a thousand of a large one.
func (w *world) targets() []int {
	out := make([]int, min(len(w.seats), 1000))
	for i := range out {
		out[i] = i
	}
	return out
}

func (w *world) seatsAt(at []int) []*seat {
	out := make([]*seat, len(at))
	for i, k := range at {
		out[i] = w.seats[k]
	}
	return out
}
