package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// killed kills the server in the middle of its work, again and again. What it
// had acknowledged must be there afterwards: each message once, in order and
// in total the mailboxes that it was for; no key is given out twice.
func killed(ctx context.Context, o *options, kind string, r *report) (err error) {
	if !o.wants("kill -9") {
		return nil
	}
	rounds := 5
	if o.quick {
		rounds = 2
	}
	logf("%s: kill -9 in %d rounds", kind, rounds)
	w, err := newWorld(ctx, o, kind, 100)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	all := make([]int, len(w.seats))
	for i := range all {
		all[i] = i
	}
	if err := w.begin(ctx, w.seats); err != nil {
		return err
	}
	tk, err := w.smallRooms(ctx, "kill", 3)
	if err != nil {
		return err
	}
	l, k := newLedger(), &keyring{}
	ss := w.senders(l, "kill")
	for range rounds {
		if err := k.fill(ctx, w, all, 100); err != nil {
			return err
		}
		if err := w.workAndKill(ctx, ss, k, tk); err != nil {
			return err
		}
		if err := w.drain(ctx, l, all); err != nil {
			return err
		}
	}
	n, err := l.check()
	r.check(kind, checkKilled+": to-device", fmt.Sprintf("%d messages after %d kills", n, rounds), err)
	given, err := k.check()
	r.check(kind, checkKilled+": no key twice", fmt.Sprintf("%d keys after %d kills", given, rounds), err)
	said, err := tk.check(ctx)
	r.check(kind, checkKilled+": rooms", fmt.Sprintf("%d messages after %d kills", said, rounds), err)
	return nil
}

// workAndKill lets the clients work, each at its own kind of work, kills the
// server under them and starts it again.
func (w *world) workAndKill(ctx context.Context, ss []*sender, k *keyring, tk *talk) error {
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			var body []byte
			for ctx.Err() == nil {
				var err error
				switch i % 4 {
				case 0:
					err = ss[i].send(w.clients[i], i, rand.IntN(len(w.seats)), 1)
				case 1:
					err = ss[i].send(w.clients[i], i, rand.IntN(len(w.seats)), 100)
				case 2:
					var answer []byte
					body = w.appendClaim(body[:0], rand.IntN(len(w.seats)), 1)
					if answer, err = w.clients[i].ok("POST", claimPath, w.seats[i].token, body); err == nil {
						_, err = k.claimed(i, answer)
					}
				default:
					err = tk.say(w.clients[i], i)
				}
				if err != nil {
					return // the server is gone
				}
			}
		})
	}
	select {
	case <-time.After(500*time.Millisecond + rand.N(time.Second)):
	case <-ctx.Done():
	}
	err := w.srv.Kill()
	wg.Wait()
	for _, c := range w.clients {
		err = errors.Join(err, c.close())
	}
	w.srv = nil
	if err != nil {
		return err
	}
	return w.start(ctx)
}
