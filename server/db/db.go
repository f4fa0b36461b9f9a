// Package db is the store under the server: one SQL text over SQLite (the
// embedded default) and PostgreSQL (for several nodes).
//
// [DB.View] reads from one consistent snapshot. [DB.Update] writes. Writes of
// concurrent callers are committed together: each runs under its own
// savepoint in one transaction, and every caller is answered after the single
// commit that makes all of them durable. If a function fails, only its own
// writes are rolled back.
//
// Writes are totally ordered, over all nodes of a store: a node holds the row
// lock of the position counter while it writes. So a position from
// [Tx.NextPos] becomes visible to readers only together with all smaller
// ones, and a reader that continues after a position misses nothing.
//
// What is not here: tables. Each set of the server brings its own as a
// [Schema].
package db

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Config says which store to open. Exactly one of Path and URL is set.
type Config struct {
	// Path is the file of an embedded SQLite store; it is created if missing.
	Path string
	// URL is the connection string of a PostgreSQL database, as
	// "postgres://user@host/name"; several hosts are allowed.
	URL string
	// Now is the clock; it is handed on by Tx.Now.
	Now func() time.Time
	// Log gets what an operator should know. No SQL argument is logged.
	Log *slog.Logger
	// Readers is how many read-only connections are open at most; zero means
	// a default that suits the dialect.
	Readers int
	// Rehearse makes Tx.Prefetch rehearse on an embedded store, as it does where
	// an answer takes a round trip. It is only useful to tests, which then see
	// what a function does on no rows.
	Rehearse bool
	// Faults, if not nil, is asked before each write and sync of the embedded
	// store's files. Tests use it to fill a disk.
	Faults func(op string) error
}

// A DB is an open store.
type DB struct {
	cfg  Config
	back backend
	reqs chan *request
	done chan struct{}
	stop context.CancelFunc
	shut sync.Once

	mu     sync.RWMutex // guards closed against late senders
	closed bool

	commits, requests, syncs atomic.Int64

	subs subscribers
}

// A backend is one SQL engine.
type backend interface {
	// view runs fn over a snapshot.
	view(ctx context.Context, fn func(*Tx) error) error
	// peek is view for an fn that makes one statement at most.
	peek(ctx context.Context, fn func(*Tx) error) error
	// writer returns the connection that writes; the writer goroutine alone
	// uses it.
	writer() batcher
	// migrate brings the tables of the schemas up to date.
	migrate(ctx context.Context, schemas []Schema) error
	// publish hands keys to the other nodes, if there can be any.
	publish(keys []string)
	close() error
}

// A batcher runs the group commits of one store.
type batcher interface {
	// begin starts a transaction and returns the position counter.
	begin(ctx context.Context) (conn, quinta.Pos, error)
	// save begins one request, and ends the one before.
	save(r *request) error
	// undo takes back what the request under way has done.
	undo() error
	// commit stores the position and commits. It may find that a request
	// before has failed, and notes that there.
	commit(pos quinta.Pos) error
	// rollback ends a transaction that cannot be committed.
	rollback()
}

// Open opens the store, brings its tables up to date and starts the writer.
// The errors that an operator can cause are clear lines without SQL.
func Open(ctx context.Context, cfg Config, schemas ...Schema) (*DB, error) {
	if (cfg.Path == "") == (cfg.URL == "") {
		return nil, errors.New("db: give either a file or a database URL")
	}
	if cfg.Now == nil {
		return nil, errors.New("db: no clock was given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{cfg: cfg, reqs: make(chan *request, 256), done: make(chan struct{})}
	var err error
	if cfg.Path != "" {
		d.back, err = openSQLite(ctx, d)
	} else {
		d.back, err = openPostgres(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	if err := d.back.migrate(ctx, schemas); err != nil {
		return nil, errors.Join(err, d.back.close())
	}
	wctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	go d.write(wctx)
	return d, nil
}

// Embedded reports whether the store is an embedded file of this process.
func (d *DB) Embedded() bool { return d.cfg.Path != "" }

// Close finishes the writes that are under way and closes the store. Later
// calls fail with KindUnavailable.
func (d *DB) Close() error {
	var err error
	d.shut.Do(func() {
		d.mu.Lock()
		d.closed = true
		close(d.reqs)
		d.mu.Unlock()
		<-d.done
		d.stop()
		err = d.back.close()
	})
	return err
}

// View runs fn over one consistent snapshot of the store. fn must not write.
func (d *DB) View(ctx context.Context, fn func(*Tx) error) error {
	d.mu.RLock()
	closed := d.closed
	d.mu.RUnlock()
	if closed {
		return errClosed
	}
	return d.back.view(ctx, fn)
}

// Peek is View for an fn that makes one query at most, such as to look a token
// up: a snapshot of its own costs nothing then.
func (d *DB) Peek(ctx context.Context, fn func(*Tx) error) error {
	d.mu.RLock()
	closed := d.closed
	d.mu.RUnlock()
	if closed {
		return errClosed
	}
	return d.back.peek(ctx, func(tx *Tx) error {
		tx.one = true
		return fn(tx)
	})
}

// Stats are counters since Open.
type Stats struct {
	// Commits counts transactions that were committed, Requests the Update
	// calls that they held.
	Commits, Requests int64
	// Syncs counts the fsync calls on the files of an embedded store.
	Syncs int64
}

// Stats returns the counters.
func (d *DB) Stats() Stats {
	return Stats{Commits: d.commits.Load(), Requests: d.requests.Load(), Syncs: d.syncs.Load()}
}

// Waiting returns how many calls of Update wait for their turn.
func (d *DB) Waiting() int { return len(d.reqs) }

var errClosed = quinta.E(quinta.KindUnavailable, "store", "the store is closed")

// ErrNoRows is what Row.Scan returns if the query found nothing.
var ErrNoRows = errors.New("db: no rows")

// checkText refuses text that not both engines can hold.
func checkText(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return quinta.E(quinta.KindInvalid, "", "a name contains the character U+0000")
	}
	if !validUTF8(s) {
		return quinta.E(quinta.KindInvalid, "", "a name is not valid UTF-8")
	}
	return nil
}

// A Schema is what one set of the server keeps: the tables at the beginning,
// and the changes since, in order. A set's tables are written by that set
// only.
type Schema struct {
	// Set is the name of the set.
	Set string
	// Base is the SQL that makes the tables.
	Base string
	// Changes are the SQL texts of the changes, oldest first; the store
	// remembers how many it has.
	Changes []string
}

// Backup writes a consistent copy of an embedded store to a new file at path,
// while the store is in use, and syncs it.
func (d *DB) Backup(ctx context.Context, path string) error {
	s, ok := d.back.(*sqliteDB)
	if !ok {
		return quinta.E(quinta.KindInvalid, "backup", "only an embedded store can be copied into a file; use pg_dump for PostgreSQL")
	}
	return s.backup(ctx, path)
}
