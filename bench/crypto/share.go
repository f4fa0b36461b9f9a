package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
)

// A cost is what something took: time of the processor, and on the clock.
type cost struct{ cpu, wall time.Duration }

func (a cost) min(b cost) cost { return cost{min(a.cpu, b.cpu), min(a.wall, b.wall)} }

var noCost = cost{math.MaxInt64, math.MaxInt64}

// share sends one message for which all devices need a new key, and returns
// what the loop, the machine and the store took until it was sent.
func (c *crowd) share(ctx context.Context) (cost, error) {
	if err := c.loop.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.Rotate(tx, crowdRoom) }); err != nil {
		return cost{}, err
	}
	runtime.GC()
	c.answering, c.answered, c.shares = 0, 0, 0
	sent := c.sent
	from, err := machine.Own()
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := c.loop.Send(ctx, quinta.Message{Room: crowdRoom, Type: "m.room.message", Body: []byte(`{"msgtype":"m.text","body":"hello"}`)}); err != nil {
		return cost{}, err
	}
	if err := c.loop.Flush(ctx); err != nil {
		return cost{}, err
	}
	wall := time.Since(began)
	to, err := machine.Own()
	if err != nil {
		return cost{}, err
	}
	if c.shares != len(c.members) || c.sent != sent+1 {
		return cost{}, fmt.Errorf("%d devices got the key and %d messages were sent, not %d and 1", c.shares, c.sent-sent, len(c.members))
	}
	return cost{to - from - c.answering, wall - c.answered}, nil
}

// payload opens what the first member got in the first share.
func (c *crowd) payload() ([]byte, error) {
	m := c.members[0]
	var content struct {
		Ciphertext map[string]struct {
			Body string `json:"body"`
		} `json:"ciphertext"`
		Sender string `json:"sender_key"`
	}
	if err := json.Unmarshal(c.first, &content); err != nil {
		return nil, err
	}
	body, err := base64text.Decode(content.Ciphertext[m.acc.Identity().String()].Body)
	if err != nil {
		return nil, err
	}
	p, err := olm.ParsePreKeyMessage(body)
	if err != nil {
		return nil, err
	}
	_, text, err := m.acc.NewInbound(p.Identity, p)
	if err != nil {
		return nil, err
	}
	var o struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &o); err != nil || o.Type != "m.room_key" {
		return nil, errors.Join(err, fmt.Errorf("the first member got %q, not a room key", o.Type))
	}
	return text, nil
}

// raw is the cryptography of a share alone: with new sessions the check of
// the one-time key, the session and the message, otherwise the message.
type raw struct {
	c        *crowd
	self     *olm.Account
	text     []byte
	sessions []*olm.Session
}

func (c *crowd) raw() (*raw, error) {
	text, err := c.payload()
	if err != nil {
		return nil, err
	}
	self, err := olm.NewAccount(rand.Reader)
	return &raw{c: c, self: self, text: text}, err
}

func (r *raw) again() error {
	for _, s := range r.sessions {
		if _, err := s.Seal(rand.Reader, r.text); err != nil {
			return err
		}
	}
	return nil
}

func (r *raw) fresh() error {
	r.sessions = r.sessions[:0]
	for _, m := range r.c.members {
		if !m.acc.Signing().Verify([]byte(`{"key":"`+m.oneTime.String()+`"}`), m.signature) {
			return errors.New("a one-time key is not signed by its device")
		}
		s, err := r.self.NewOutbound(rand.Reader, m.acc.Identity(), m.oneTime)
		if err != nil {
			return err
		}
		if _, err := s.Seal(rand.Reader, r.text); err != nil {
			return err
		}
		r.sessions = append(r.sessions, s)
	}
	return nil
}

// took measures f.
func took(f func() error) (cost, error) {
	runtime.GC()
	from, err := machine.Own()
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return cost{}, err
	}
	wall := time.Since(began)
	to, err := machine.Own()
	return cost{to - from, wall}, err
}

// A sharing is what it takes to share a room key with n devices: through the
// SDK and as raw cryptography, with devices that have no session yet and again
// with those that have one.
type sharing struct {
	n                                int
	fresh, rawFresh, again, rawAgain cost
}

// measureSharing takes the best of several rounds, each with one worker.
func measureSharing(ctx context.Context, n, rounds int) (s sharing, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s = sharing{n, noCost, noCost, noCost, noCost}
	for range rounds {
		if err := s.round(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *sharing) round(ctx context.Context) (err error) {
	c, err := newCrowd(ctx, s.n, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	got, err := c.share(ctx)
	if err != nil {
		return err
	}
	s.fresh = s.fresh.min(got)
	r, err := c.raw()
	if err != nil {
		return err
	}
	share := func() (cost, error) { return c.share(ctx) }
	fresh := func() (cost, error) { return took(r.fresh) }
	again := func() (cost, error) { return took(r.again) }
	for _, part := range []struct {
		best *cost
		f    func() (cost, error)
	}{{&s.rawFresh, fresh}, {&s.again, share}, {&s.rawAgain, again}, {&s.again, share}, {&s.rawAgain, again}} {
		got, err := part.f()
		if err != nil {
			return err
		}
		*part.best = part.best.min(got)
	}
	return nil
}

// each returns nanoseconds of the processor for one device.
func (s *sharing) each(c cost) float64 { return float64(c.cpu) / float64(s.n) }

// measureWorkers shares a key with n new devices by one worker and by two, and
// returns the nanoseconds on the clock for one device: the best of several
// rounds. The store is in memory, as no one waits for a disk any faster. Worth
// is how many times as fast the machine was at the same time with two pieces of
// raw work beside each other.
func measureWorkers(ctx context.Context, n, rounds int) (one, two, worth float64, err error) {
	shared, alone := [2]cost{noCost, noCost}, [2]cost{noCost, noCost}
	for range rounds {
		for i := range shared {
			got, err := shareOnce(ctx, n, i+1)
			if err != nil {
				return 0, 0, 0, err
			}
			shared[i] = shared[i].min(got)
			if got, err = agreements(4*n, i+1); err != nil {
				return 0, 0, 0, err
			}
			alone[i] = alone[i].min(got)
		}
	}
	each := func(c cost) float64 { return float64(c.wall) / float64(n) }
	return each(shared[0]), each(shared[1]), each(alone[0]) / each(alone[1]), nil
}

// agreements measures n shared secrets that are divided between workers.
func agreements(n, workers int) (cost, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	ops := make([]func() error, workers)
	for i := range ops {
		var err error
		if ops[i], err = agreeECDH(); err != nil {
			return cost{}, err
		}
	}
	return took(func() error {
		errs := make([]error, workers)
		var wg sync.WaitGroup
		for i, op := range ops {
			wg.Go(func() {
				for range n / workers {
					errs[i] = errors.Join(errs[i], op())
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

func shareOnce(ctx context.Context, n, workers int) (got cost, err error) {
	c, err := newCrowd(ctx, n, true)
	if err != nil {
		return cost{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	return c.share(ctx)
}

// manyDevices is how many devices the bar for sharing is for.
const manyDevices = 1000

// shares are the rows of sharing a key: for one device, of the cryptography
// alone. The bar is for devices that have no session yet, as when a room is
// first written to. Where there are sessions the cryptography is a few
// microseconds, and what is seen beside it is the store.
func shares(ctx context.Context) []row {
	var out []row
	for _, n := range []int{10, 100, manyDevices, 10 * manyDevices} {
		var s sharing
		fresh := row{id: "C8", what: fmt.Sprintf("room key to %d new devices, each", n), pair: func(rounds int) (float64, float64, error) {
			var err error
			s, err = measureSharing(ctx, n, max(1, min(rounds, 3*manyDevices/n)))
			return s.each(s.fresh), s.each(s.rawFresh), err
		}}
		if n == manyDevices {
			fresh.bar, fresh.stretch = 3, 2
		}
		out = append(out, fresh, row{id: "C8", what: fmt.Sprintf("again to %d devices, each", n), pair: func(int) (float64, float64, error) {
			return s.each(s.again), s.each(s.rawAgain), nil
		}})
	}
	return out
}
