package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
)

// algorithm is that of the one-time keys.
const algorithm = "signed_curve25519"

// A keyring makes uploads of one-time keys, each under an id that no other
// has, and notes which were given out.
type keyring struct {
	made atomic.Int64
	got  [clients][]uint32
}

// appendUpload writes an upload of n keys of a seat.
func (k *keyring) appendUpload(b []byte, s *seat, n int) []byte {
	b = append(b, `{"one_time_keys":{`...)
	first := k.made.Add(int64(n)) - int64(n)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%s:%08d":{"key":"%08d%s","signatures":{%q:{"ed25519:%s":"%s%s"}}}`,
			algorithm, first+int64(i), first+int64(i), key43[:35], s.user, s.device, key43, key43)
	}
	return append(b, "}}"...)
}

// claimed notes the keys of an answer to a claim and returns how many.
func (k *keyring) claimed(i int, answer []byte) (int, error) {
	n := 0
	for {
		_, rest, ok := bytes.Cut(answer, []byte(`"`+algorithm+`:`))
		if !ok {
			return n, nil
		}
		if len(rest) < 8 {
			return n, fmt.Errorf("a key without an id: %.100q", rest)
		}
		id, err := strconv.ParseUint(string(rest[:8]), 10, 32)
		if err != nil {
			return n, err
		}
		k.got[i] = append(k.got[i], uint32(id))
		answer = rest
		n++
	}
}

// check looks for a key that was given out twice, or never uploaded.
func (k *keyring) check() (given int, err error) {
	seen := make([]bool, k.made.Load())
	for i := range k.got {
		for _, id := range k.got[i] {
			if int(id) >= len(seen) {
				return given, fmt.Errorf("the key %d was given out and never uploaded", id)
			}
			if seen[id] {
				return given, fmt.Errorf("the key %d was given out twice", id)
			}
			seen[id] = true
			given++
		}
	}
	return given, nil
}

const (
	uploadPath = "/_matrix/client/v3/keys/upload"
	claimPath  = "/_matrix/client/v3/keys/claim"
	queryPath  = "/_matrix/client/v3/keys/query"
)

// fill uploads n keys for each of the seats.
func (k *keyring) fill(ctx context.Context, w *world, seats []int, n int) error {
	return parallel(ctx, w.srv.Addr, len(seats), func(c *client, i int) error {
		s := w.seats[seats[i]]
		for left := n; left > 0; left -= 500 {
			if _, err := c.ok("POST", uploadPath, s.token, k.appendUpload(nil, s, min(left, 500))); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendClaim writes a claim for n neighbours.
func (w *world) appendClaim(b []byte, first, n int) []byte {
	b = append(b, `{"one_time_keys":{`...)
	open := ""
	for k := range n {
		s := w.seats[(first+k)%len(w.seats)]
		switch open {
		case s.user:
			b = append(b, ',')
		case "":
			b = fmt.Appendf(b, `%q:{`, s.user)
		default:
			b = fmt.Appendf(b, `},%q:{`, s.user)
		}
		open = s.user
		b = append(append(append(b, '"'), s.device...), `":"`+algorithm+`"`...)
	}
	return append(b, "}}}"...)
}

// keys measures uploading, asking for and claiming keys.
func keys(ctx context.Context, o *options, w *world, r *report) error {
	k := &keyring{}
	seats := w.targets()
	bodies := make([][]byte, clients)
	var at atomic.Int64
	var t tally
	err := w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error {
		s := w.seats[seats[int(at.Add(1))%len(seats)]]
		bodies[i] = k.appendUpload(bodies[i][:0], s, 50)
		_, err := c.ok("POST", uploadPath, s.token, bodies[i])
		return err
	})
	if err != nil {
		return err
	}
	r.add(t.sample(opUpload, w.store.kind, w.users))

	asked := min(80, w.users)
	t = tally{}
	err = w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error {
		b := append(bodies[i][:0], `{"device_keys":{`...)
		first := rand.IntN(w.users)
		for u := range asked {
			if u > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, `%q:[]`, w.seats[(first+u)%w.users*devicesEach].user)
		}
		bodies[i] = append(b, "}}"...)
		answer, err := c.ok("POST", queryPath, w.seats[i].token, bodies[i])
		if err == nil && bytes.Count(answer, []byte(`"algorithms"`)) != asked*devicesEach {
			err = fmt.Errorf("keys/query gave %d devices, want %d", bytes.Count(answer, []byte(`"algorithms"`)), asked*devicesEach)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.add(t.sample(opQuery, w.store.kind, w.users))
	return w.claims(ctx, o, k, seats, r)
}

// claims measures claims for one device and for a hundred.
func (w *world) claims(ctx context.Context, o *options, k *keyring, seats []int, r *report) error {
	for _, p := range []struct {
		name string
		n    int
		most int // claims in one window
	}{{opClaim1, 1, 6000}, {opClaim100, 100, 300}} {
		most := max(1, int(float64(p.most)*o.window.Seconds()))
		// Half as many again, since the claims are spread by chance.
		if err := k.fill(ctx, w, seats, most*p.n*3/2/len(seats)+50); err != nil {
			return err
		}
		var t tally
		var next atomic.Int64
		bodies := make([][]byte, clients)
		err := w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error {
			if int(next.Add(1)) > most {
				return errDone
			}
			// Neighbours of the first seats, so that all have keys.
			first := seats[rand.IntN(len(seats)-p.n+1)]
			bodies[i] = w.appendClaim(bodies[i][:0], first, p.n)
			answer, err := c.ok("POST", claimPath, w.seats[i].token, bodies[i])
			if err != nil {
				return err
			}
			if n, err := k.claimed(i, answer); err != nil || n != p.n {
				return fmt.Errorf("a claim for %d devices gave %d keys: %w", p.n, n, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.add(t.sample(p.name, w.store.kind, w.users))
	}
	n, err := k.check()
	r.check(w.store.kind, fmt.Sprintf("claims: no key twice (%d users)", w.users), fmt.Sprintf("%d keys given out", n), err)
	return nil
}

// oneDevice lets all clients claim the keys of one device until they are gone.
func oneDevice(ctx context.Context, o *options, w *world, r *report) error {
	n := 100_000
	if o.quick {
		n = 10_000
	}
	k := &keyring{}
	last := len(w.seats) - 1 // no one else claims from it
	k.made.Store(90_000_000) // ids that no other part of the run has used
	s := w.seats[last]
	c := w.clients[0]
	for range n / 1000 {
		if _, err := c.ok("POST", uploadPath, s.token, k.appendUpload(nil, s, 1000)); err != nil {
			return err
		}
	}
	var t tally
	var next atomic.Int64
	body := w.appendClaim(nil, last, 1)
	err := w.drive(ctx, &t, 10*callTime, func(_ context.Context, i int, c *client) error {
		if int(next.Add(1)) > n {
			return errDone
		}
		answer, err := c.ok("POST", claimPath, w.seats[i].token, body)
		if err != nil {
			return err
		}
		if got, err := k.claimed(i, answer); err != nil || got != 1 {
			return fmt.Errorf("a claim gave %d keys, want 1: %w", got, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.add(t.sample("keys/claim, all from one device", w.store.kind, w.users))
	given, err := k.check()
	if err == nil && given != n {
		err = fmt.Errorf("%d keys were given out of %d", given, n)
	}
	r.check(w.store.kind, checkClaims, fmt.Sprintf("0 of %d twice", given), err)
	return nil
}
