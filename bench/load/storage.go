package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
)

// storage measures the store alone, in this process: without HTTP, JSON and
// tokens.
func storage(ctx context.Context, o *options, kind string, r *report) (err error) {
	if !o.wants("storage") {
		return nil
	}
	s, err := newStore(ctx, kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	d, err := db.Open(ctx, s.config(), mailbox.Schema, prekey.Schema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	content := appendContent(nil, mark{})
	envelope := func(k int) quinta.Envelope {
		return quinta.Envelope{From: "@alice:bench", To: quinta.UserID(fmt.Sprintf("@user%04d:bench", k%1000)), Device: "DEVICE", Type: "m.room.encrypted", Body: content}
	}
	const devices = 64
	each := 1000
	if o.quick {
		each = 200
	}
	for dev := range devices {
		err := d.Update(ctx, func(tx *db.Tx) error {
			keys := make([]prekey.Key, each)
			for i := range keys {
				keys[i] = prekey.Key{Algorithm: algorithm, ID: fmt.Sprintf("%08d", i), Body: deviceKeys(&seat{user: "@a:bench", device: "D"})}
			}
			return prekey.Put(tx, "matrix", quinta.UserID(fmt.Sprintf("@user%04d:bench", dev)), "DEVICE", keys)
		})
		if err != nil {
			return err
		}
	}
	for _, p := range []struct {
		name string
		most int
		op   func(k int) error
	}{
		{opStore1, 20_000, func(k int) error {
			return d.Update(ctx, func(tx *db.Tx) error { return mailbox.Put(tx, "matrix", 0, envelope(k)) })
		}},
		{opStore50, 1000, func(k int) error {
			envs := make([]quinta.Envelope, 50)
			for i := range envs {
				envs[i] = envelope(50*k + i)
			}
			return d.Update(ctx, func(tx *db.Tx) error { return mailbox.Put(tx, "matrix", 0, envs...) })
		}},
		{opStoreClaim, devices * each, func(k int) error {
			var t *prekey.Taken
			err := d.Update(ctx, func(tx *db.Tx) (err error) {
				t, err = prekey.Take(tx, "matrix", prekey.Want{User: quinta.UserID(fmt.Sprintf("@user%04d:bench", k%devices)), Device: "DEVICE", Algorithm: algorithm})
				return err
			})
			if err != nil {
				return err
			}
			_, ok, err := t.Key()
			if err == nil && !ok {
				err = errors.New("a claim gave no key")
			}
			return err
		}},
	} {
		sample, err := storeOp(ctx, s, d, p.most, p.op)
		if err != nil {
			return err
		}
		sample.Name = p.name
		r.add(sample)
	}
	return nil
}

// storeOp calls op as often as n from all sides.
func storeOp(ctx context.Context, s *store, d *db.DB, n int, op func(k int) error) (Sample, error) {
	own0, err := machine.Own()
	if err != nil {
		return Sample{}, err
	}
	db0, err := s.cpu()
	if err != nil {
		return Sample{}, err
	}
	syncs := func() (float64, error) {
		if s.kind == postgresql {
			return s.syncs(ctx)
		}
		return float64(d.Stats().Syncs), nil
	}
	syncs0, err := syncs()
	if err != nil {
		return Sample{}, err
	}
	var next counter
	errs := make([]error, clients)
	took := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wg.Go(func() {
			for k := next.add(); k < n && errs[i] == nil; k = next.add() {
				at := time.Now()
				errs[i] = op(k)
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	t := tally{wall: time.Since(began)}
	syncs1, err := syncs()
	if err != nil {
		return Sample{}, err
	}
	t.syncs = syncs1 - syncs0
	own1, err := machine.Own()
	if err != nil {
		return Sample{}, err
	}
	db1, err := s.cpu()
	if err != nil {
		return Sample{}, err
	}
	t.server, t.dbTime = own1-own0, db1-db0
	for i := range took {
		t.took = append(t.took, took[i]...)
	}
	return t.sample("", s.kind, 0), errors.Join(errs...)
}

// requests measures the calls of clients at each number of users.
func requests(ctx context.Context, o *options, kind string, r *report) error {
	for _, users := range o.scales {
		if err := requestsAt(ctx, o, kind, users, r); err != nil {
			return fmt.Errorf("%d users: %w", users, err)
		}
	}
	return nil
}

func requestsAt(ctx context.Context, o *options, kind string, users int, r *report) (err error) {
	parts := []struct {
		name string
		run  func(context.Context, *options, *world, *report) error
	}{{"keys", keys}, {"to-device", toDevice}, {"rooms", roomSend}}
	if users == middle || len(o.scales) == 1 {
		parts = append(parts, []struct {
			name string
			run  func(context.Context, *options, *world, *report) error
		}{{"wake-up", wakeUps}, {"one device", oneDevice}}...)
	}
	var w *world
	for _, p := range parts {
		if !o.wants(p.name) {
			continue
		}
		if w == nil {
			logf("%s: %d users", kind, users)
			if w, err = newWorld(ctx, o, kind, users); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close(ctx)) }()
		}
		logf("%s: %d users: %s", kind, users, p.name)
		if err := p.run(ctx, o, w, r); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
