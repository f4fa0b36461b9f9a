package db

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/quinta-chat/quinta"
)

// A request is one call of Update on its way through the writer.
type request struct {
	ctx  context.Context
	fn   func(*Tx) error
	err  error
	done chan struct{}
	wake []string
}

// maxBatch bounds how many requests share one commit, so that the first of
// them does not wait forever.
const maxBatch = 256

// batchTime bounds how long a batch may collect requests.
const batchTime = 20 * time.Millisecond

// writeTimeout bounds one batch, from begin to commit.
const writeTimeout = 30 * time.Second

// Update runs fn in a transaction and returns after it is durable. If fn
// returns an error, nothing of it is kept and that error is returned. fn runs
// once, alone: no other Update of the store runs at the same time. It should
// be short and must not wait for anything but the store.
//
// A ctx that ends before fn begins prevents it; once fn runs, it runs to its
// end and is committed.
func (d *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	r := &request{ctx: ctx, fn: fn, done: make(chan struct{})}
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return errClosed
	}
	select {
	case d.reqs <- r:
		d.mu.RUnlock()
	case <-ctx.Done():
		d.mu.RUnlock()
		return ctx.Err()
	}
	<-r.done
	return r.err
}

// write is the writer goroutine: one batch after another.
func (d *DB) write(ctx context.Context) {
	defer close(d.done)
	for r := range d.reqs {
		d.batch(ctx, r)
	}
}

// batch runs first, and whatever else is waiting, in one transaction.
func (d *DB) batch(ctx context.Context, first *request) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	w := d.back.writer()
	conn, pos, err := w.begin(ctx)
	if err != nil {
		first.answer(d.unavailable("begin", err))
		return
	}
	var batch []*request
	deadline := time.Now().Add(batchTime)
	broken := error(nil)
	now := d.cfg.Now()
	for r := first; r != nil && broken == nil; r = d.next(len(batch), deadline) {
		batch = append(batch, r)
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		if broken = w.save(r); broken != nil {
			break
		}
		tx := &Tx{ctx: ctx, conn: conn, now: now, pos: &pos, write: true, req: r}
		r.err = run(tx, r.fn)
		if tx.broken != nil {
			broken = tx.broken
			break
		}
		if r.err == nil {
			r.err = tx.sunk
		}
		if r.err != nil {
			r.fail(r.err)
			broken = w.undo()
		}
	}
	if broken == nil {
		broken = w.commit(pos)
	}
	if broken != nil {
		w.rollback()
		err := d.unavailable("commit", broken)
		for _, r := range batch {
			r.answer(err)
		}
		return
	}
	d.commits.Add(1)
	d.requests.Add(int64(len(batch)))
	var keys []string
	for _, r := range batch {
		keys = append(keys, r.wake...)
	}
	d.publish(keys)
	for _, r := range batch {
		close(r.done)
	}
}

// next returns a request that is waiting already, or nil if the batch is full.
func (d *DB) next(n int, deadline time.Time) *request {
	if n >= maxBatch || time.Now().After(deadline) {
		return nil
	}
	select {
	case r := <-d.reqs:
		return r // nil if closed
	default:
		return nil
	}
}

// fail notes that nothing of the request is kept.
func (r *request) fail(err error) { r.err, r.wake = err, nil }

func (r *request) answer(err error) {
	r.err = err
	close(r.done)
}

// unavailable logs the cause and returns what callers see of it.
func (d *DB) unavailable(op string, err error) error {
	kind := d.kindOf(err)
	d.cfg.Log.Error("store: a write failed and was rolled back", "op", op, "kind", kind.String(), "err", err)
	return &quinta.Error{Kind: kind, Op: "store", Err: fmt.Errorf("the write was rolled back: %s", kind)}
}

// run calls fn and turns a panic into an error, so that one request cannot
// take the writer down.
func run(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		tx.done = true
		if p := recover(); p != nil {
			err = fmt.Errorf("db: panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}
