package db

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quinta-chat/quinta"
)

// A postgresWriter is the connection that writes. What a request changes
// without waiting for an answer is queued, together with what the requests
// before it have queued, and sent with the next statement that someone waits
// for, or with the commit.
//
// A request that fails must fail alone. So before what is sent stands a
// savepoint, and another before what the request under way has queued. If the
// database refuses a statement of an earlier request, that request has failed:
// the transaction goes back to the savepoint, and what the others had queued
// is sent again. They have seen no answer to any of it, and no one else writes
// meanwhile, so it does what it did, or would have done.
type postgresWriter struct {
	cfg *pgconn.Config
	// p is nil if there is no connection.
	p *pipe

	// queue holds what was not sent yet, in order; what belongs to cur, the
	// request under way, is at the end. arena holds the messages.
	queue []step
	arena []byte
	cur   *request
	// asked says that the queue holds a statement whose answer is wanted.
	asked bool
	// saved says that there is a savepoint; curSaved, that it stands where cur
	// began.
	saved, curSaved bool

	// mark sets a savepoint, release ends it, restore goes back to it.
	mark, release, restore step
	steps                  []step // used again and again
}

const (
	// maxQueue bounds the bytes and maxQueued the statements that wait to be
	// sent. The answers to so many fit into the buffers of a connection, so
	// that the database is never kept from reading by what we do not read.
	maxQueue  = 256 << 10
	maxQueued = 1000
	// maxAsked bounds the bytes that wait to be sent after a statement with
	// rows in its answer, which may be large: so much is taken by the buffers of
	// a connection even if the database does not read.
	maxAsked = 16 << 10
)

func (w *postgresWriter) connect(ctx context.Context) error {
	pc, err := pgconn.ConnectConfig(ctx, w.cfg)
	if err != nil {
		return err
	}
	p := newPipe(pc)
	stop := context.AfterFunc(ctx, p.interrupt)
	defer stop()
	for sql, s := range map[string]*step{"SAVEPOINT request": &w.mark, "RELEASE SAVEPOINT request": &w.release, "ROLLBACK TO SAVEPOINT request": &w.restore} {
		if s.st, err = p.prepare(sql); err == nil {
			s.st.pinned = true
			s.msg, err = p.encode(nil, s.st, nil)
		}
		if err != nil {
			p.abandon()
			return err
		}
	}
	w.p = p
	w.forgetQueue()
	w.cur, w.saved, w.curSaved = nil, false, false
	return nil
}

func (w *postgresWriter) begin(ctx context.Context) (conn, quinta.Pos, error) {
	for try := 0; ; try++ {
		if w.p == nil {
			if err := w.connect(ctx); err != nil {
				return nil, 0, err
			}
		}
		pos, err := w.lock(ctx)
		if err == nil {
			return w, pos, nil
		}
		w.drop()
		// A connection that died while it was idle is worth one new one.
		if try > 0 {
			return nil, 0, err
		}
	}
}

// lock begins the transaction and takes the row lock that orders all writes.
func (w *postgresWriter) lock(ctx context.Context) (quinta.Pos, error) {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(writeTimeout)
	}
	if err := w.p.deadline(until); err != nil {
		return 0, err
	}
	w.cur, w.saved, w.curSaved = nil, false, false
	if err := w.later("BEGIN ISOLATION LEVEL READ COMMITTED", nil, nil); err != nil {
		return 0, err
	}
	var pos quinta.Pos
	var scanErr error
	err := w.query("SELECT pos FROM store_position WHERE one = 1 FOR UPDATE", nil, func(s scanner) bool {
		scanErr = s.scan([]any{&pos})
		return true
	})
	return pos, errors.Join(err, scanErr)
}

// save notes that what follows is of another request.
func (w *postgresWriter) save(r *request) error {
	w.cur, w.curSaved = r, false
	return nil
}

// undo takes back what the request under way has done.
func (w *postgresWriter) undo() error {
	if w.p.open {
		return errors.New("db: the connection is lost")
	}
	w.dropQueue(w.cur)
	if !w.curSaved {
		return nil // nothing of it was sent
	}
	return w.back()
}

// back goes back to the savepoint. The queue is not touched.
func (w *postgresWriter) back() error {
	_, err := w.p.run([]step{w.restore}, nil)
	return err
}

func (w *postgresWriter) commit(pos quinta.Pos) error {
	w.cur, w.curSaved = nil, false
	if err := w.later("UPDATE store_position SET pos = $1 WHERE one = 1 AND pos <> $1", []any{int64(pos)}, nil); err != nil {
		return err
	}
	if err := w.later("COMMIT", nil, nil); err != nil {
		return err
	}
	if err := w.settle(nil); err != nil {
		return err
	}
	if string(w.p.tag) != "COMMIT" {
		return errors.New("the database rolled the transaction back")
	}
	return nil
}

// rollback ends a transaction that cannot be committed.
func (w *postgresWriter) rollback() {
	if w.p == nil {
		return
	}
	w.forgetQueue()
	w.cur, w.curSaved = nil, false
	if w.p.open || w.p.deadline(time.Now().Add(connectTimeout)) != nil {
		w.drop()
		return
	}
	if _, err := w.exec("ROLLBACK", nil); err != nil {
		w.drop()
	}
}

// drop closes the connection; begin makes a new one.
func (w *postgresWriter) drop() {
	if w.p == nil {
		return
	}
	w.forgetQueue()
	w.p.abandon()
	w.p = nil
}

func (w *postgresWriter) forgetQueue() {
	clear(w.queue)
	w.queue, w.arena, w.asked = w.queue[:0], w.arena[:0], false
	if cap(w.arena) > 4*maxQueue {
		w.arena = nil // a large statement has passed through
	}
}

// dropQueue takes what belongs to r out of the queue.
func (w *postgresWriter) dropQueue(r *request) {
	keep := w.queue[:0]
	for _, s := range w.queue {
		if s.req != r {
			keep = append(keep, s)
		}
	}
	clear(w.queue[len(keep):])
	w.queue = keep
}

func (w *postgresWriter) later(sql string, args []any, a *Answer) error {
	st, err := w.prepare(sql)
	if err != nil {
		return err
	}
	if len(w.arena) > maxQueue || len(w.queue) >= maxQueued {
		if err := w.settle(nil); err != nil {
			return err
		}
	}
	at := len(w.arena)
	if w.arena, err = w.p.encode(w.arena, st, args); err != nil {
		w.arena = w.arena[:at]
		return err
	}
	if w.asked && len(w.arena) > maxAsked {
		msg := bytes.Clone(w.arena[at:])
		if err := w.settle(nil); err != nil {
			return err
		}
		at, w.arena = 0, append(w.arena, msg...)
	}
	w.asked = w.asked || a != nil
	w.queue = append(w.queue, step{st: st, msg: w.arena[at:len(w.arena):len(w.arena)], answer: a, req: w.cur})
	return nil
}

// prepare returns the statement of a text. Parsing a new one can fail as a
// statement can, so the savepoint of the request must be there.
func (w *postgresWriter) prepare(sql string) (*prepared, error) {
	if st := w.p.known[sql]; st != nil {
		return st, nil
	}
	if w.cur != nil || len(w.p.known) >= maxKnown {
		if err := w.settle(nil); err != nil {
			return nil, err
		}
	}
	return w.p.prepare(sql)
}

func (w *postgresWriter) exec(sql string, args []any) (int64, error) {
	var a Answer
	if err := w.later(sql, args, &a); err != nil {
		return 0, err
	}
	err := w.settle(nil)
	return a.changed, err
}

func (w *postgresWriter) query(sql string, args []any, yield func(scanner) bool) error {
	if err := w.later(sql, args, nil); err != nil {
		return err
	}
	return w.settle(yield)
}

// settle sends the queue and reads the answers; yield gets the rows of the
// last statement. An error is that of the request under way, or of the
// connection.
func (w *postgresWriter) settle(yield func(scanner) bool) error {
	defer w.forgetQueue()
	for again := false; ; again = true {
		steps := w.plan(again)
		if len(steps) == 0 {
			return nil
		}
		before := w.curSaved
		w.curSaved = w.cur != nil
		w.saved = w.saved || steps[0].st == w.mark.st || w.curSaved
		failed, err := w.p.run(steps, yield)
		if err == nil {
			return nil
		}
		if failed < 0 || w.fatal(err) || steps[failed].st == w.mark.st || steps[failed].st == w.release.st {
			w.p.open = true
			return err
		}
		r := steps[failed].req
		if r == w.cur {
			return err
		}
		w.curSaved = before
		r.fail(err)
		w.dropQueue(r)
		if err := w.back(); err != nil {
			w.p.open = true
			return err
		}
	}
}

// plan puts the queue and the savepoints that it needs in order. again says
// that the savepoint of what is sent stands already.
func (w *postgresWriter) plan(again bool) []step {
	steps := w.steps[:0]
	mark := func() {
		if w.saved || len(steps) > 0 {
			steps = append(steps, w.release)
		}
		steps = append(steps, w.mark)
	}
	for i := range w.queue {
		if w.queue[i].req == w.cur {
			break
		}
		if i == 0 && !again {
			mark()
		}
		steps = append(steps, w.queue[i])
	}
	if w.cur != nil && !w.curSaved {
		mark()
	}
	for i := range w.queue {
		if w.queue[i].req == w.cur {
			steps = append(steps, w.queue[i])
		}
	}
	w.steps = steps
	return steps
}

// fatal reports whether the transaction is lost. Any other error is undone by
// the savepoint.
func (w *postgresWriter) fatal(err error) bool { return w.p == nil || lost(w.p, err) }

func lost(p *pipe, err error) bool {
	if p.open {
		return true
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pe.Code, "57P") || strings.HasPrefix(pe.Code, "53") || strings.HasPrefix(pe.Code, "40")
	}
	return false
}

func (w *postgresWriter) waits() bool { return true }

// foresee is for views only.
func (w *postgresWriter) foresee([]foreseen) error { return errReadOnly }
