// Package sqlite is the client store in one file, encrypted at rest.
//
// [Open] opens the file under a [Key], or creates it. The whole file is
// encrypted page by page with Adiantum, a wide-block cipher: someone who gets
// the file learns its size and nothing else. Pages are not authenticated:
// anyone who can write to the file can damage it or restore an old copy,
// which the machines above must survive without using a message key twice.
//
// One process has the store at a time: a second Open fails with ErrLocked.
package sqlite

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/vfs/adiantum" // registers the encrypting file system

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var _ client.Store = (*Store)(nil)

// The errors that callers of Open can distinguish.
var (
	// ErrLocked: another process, or another Open of this one, has the store.
	ErrLocked = errors.New("sqlite: the store is in use by another process")
	// ErrKey: the key is wrong, or the file is damaged; these two cases
	// cannot be distinguished.
	ErrKey = errors.New("sqlite: the key is wrong, or the store is damaged")
)

// formatVersion is the version of the file's tables, in SQLite's user_version.
const formatVersion = 1

// A Store is an open store.
type Store struct {
	mu     sync.Mutex
	c      *sqlite3.Conn
	closed bool

	get, put, del, all, upper *sqlite3.Stmt
}

// Open opens the store at path, and creates it if there is no file. Only the
// owner can read the files that it creates.
func Open(path string, key Key) (*Store, error) {
	if key.k == nil {
		return nil, errors.New("sqlite: no key was given")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	// modeof gives the log beside the store the mode of the store.
	name := (&url.URL{Path: abs}).EscapedPath()
	name = "file:" + name + "?vfs=adiantum&modeof=" + strings.ReplaceAll(url.QueryEscape(abs), "+", "%20")
	c, err := sqlite3.OpenFlags(name, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, explain(err)
	}
	s := &Store{c: c}
	if err := s.setUp(key); err != nil {
		return nil, errors.Join(explain(err), s.c.Close())
	}
	return s, nil
}

func (s *Store) setUp(key Key) error {
	if err := s.c.Exec("PRAGMA hexkey='" + hex.EncodeToString(key.k[:]) + "'"); err != nil {
		return ErrKey // and not SQLite's words, which may hold the statement
	}
	// Exclusive locking comes before the first read, so that the lock is
	// taken once and kept.
	if err := s.c.Exec(`PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
		PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; PRAGMA cache_size=-4000; BEGIN IMMEDIATE`); err != nil {
		return err
	}
	version, err := s.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	switch {
	case version > formatVersion:
		return fmt.Errorf("sqlite: the store was written by a newer version of this program (form %d, this version knows %d)", version, formatVersion)
	case version == 0:
		if err := s.c.Exec(fmt.Sprintf("CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID; PRAGMA user_version=%d", formatVersion)); err != nil {
			return err
		}
	}
	if err := s.c.Exec("COMMIT"); err != nil {
		return err
	}
	if n, err := s.number("PRAGMA synchronous"); err != nil || n != 2 {
		return fmt.Errorf("sqlite: commits would not be durable: %w", errors.Join(err, errors.New("synchronous is not FULL")))
	}
	for sql, st := range map[string]**sqlite3.Stmt{
		"SELECT value FROM entry WHERE key = ?": &s.get,
		"INSERT INTO entry (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value": &s.put,
		"DELETE FROM entry WHERE key = ?":                                      &s.del,
		"SELECT key, value FROM entry WHERE key >= ? ORDER BY key":             &s.all,
		"SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key": &s.upper,
	} {
		if *st, _, err = s.c.Prepare(sql); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) number(sql string) (int64, error) {
	st, _, err := s.c.Prepare(sql)
	if err != nil {
		return 0, err
	}
	var n int64
	if st.Step() {
		n = st.ColumnInt64(0)
	}
	return n, errors.Join(st.Err(), st.Close())
}

func explain(err error) error {
	switch {
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return ErrLocked
	case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT):
		return ErrKey
	case errors.Is(err, sqlite3.FULL):
		return quinta.E(quinta.KindFull, "store", "there is no space left for the store")
	}
	return err
}

var errClosed = quinta.E(quinta.KindUnavailable, "store", "the store is closed")

// Update implements client.Store.
func (s *Store) Update(ctx context.Context, fn func(e2ee.Tx) error) error {
	return s.run(ctx, true, "BEGIN IMMEDIATE", fn)
}

// View implements client.Store.
func (s *Store) View(ctx context.Context, fn func(e2ee.Tx) error) error {
	return s.run(ctx, false, "BEGIN", fn)
}

func (s *Store) run(ctx context.Context, write bool, begin string, fn func(e2ee.Tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.c.Exec(begin); err != nil {
		return explain(err)
	}
	t := &tx{s: s, write: write}
	committed := false
	defer func() {
		t.done = true
		if committed || s.c.GetAutocommit() {
			return
		}
		if rerr := s.c.Exec("ROLLBACK"); rerr != nil {
			err = errors.Join(err, fmt.Errorf("undoing: %w", rerr))
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if err := s.c.Exec("COMMIT"); err != nil {
		return explain(err)
	}
	committed = true
	return nil
}

// Close implements client.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, st := range []*sqlite3.Stmt{s.get, s.put, s.del, s.all, s.upper} {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, s.c.Close())...)
}

type tx struct {
	s     *Store
	write bool
	done  bool
}

var (
	errDone     = errors.New("sqlite: transaction used after its end")
	errReadOnly = errors.New("sqlite: write in a view")
)

func (t *tx) check(write bool) error {
	switch {
	case t.done:
		return errDone
	case write && !t.write:
		return errReadOnly
	}
	return nil
}

func (t *tx) Get(key string) ([]byte, error) {
	if err := t.check(false); err != nil {
		return nil, err
	}
	st := t.s.get
	if err := st.BindBlob(1, []byte(key)); err != nil {
		return nil, err
	}
	var v []byte
	if st.Step() {
		v = append([]byte{}, st.ColumnRawBlob(0)...)
	}
	return v, explain(st.Reset())
}

func (t *tx) Put(key string, value []byte) error {
	if err := t.check(true); err != nil {
		return err
	}
	if value == nil {
		value = []byte{}
	}
	return t.exec(t.s.put, []byte(key), value)
}

func (t *tx) Delete(key string) error {
	if err := t.check(true); err != nil {
		return err
	}
	return t.exec(t.s.del, []byte(key))
}

func (t *tx) exec(st *sqlite3.Stmt, args ...[]byte) error {
	for i, a := range args {
		if err := st.BindBlob(i+1, a); err != nil {
			return err
		}
	}
	st.Step()
	return explain(st.Reset())
}

// page is how many entries All reads at a time, so that the loop's body may
// use the transaction.
const page = 256

func (t *tx) All(prefix string) iter.Seq2[e2ee.Entry, error] {
	return func(yield func(e2ee.Entry, error) bool) {
		from := []byte(prefix)
		for {
			entries, err := t.page(prefix, from)
			if err != nil {
				yield(e2ee.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < page {
				return
			}
			from = append([]byte(entries[len(entries)-1].Key), 0)
		}
	}
}

// page reads the entries of a prefix from a key on.
func (t *tx) page(prefix string, from []byte) ([]e2ee.Entry, error) {
	if err := t.check(false); err != nil {
		return nil, err
	}
	st := t.s.all
	if end := after(prefix); end != nil {
		st = t.s.upper
		if err := st.BindBlob(2, end); err != nil {
			return nil, err
		}
	}
	if err := st.BindBlob(1, from); err != nil {
		return nil, err
	}
	var out []e2ee.Entry
	for len(out) < page && st.Step() {
		out = append(out, e2ee.Entry{Key: string(st.ColumnRawBlob(0)), Value: append([]byte{}, st.ColumnRawBlob(1)...)})
	}
	return out, explain(st.Reset())
}

// after returns the first key behind all that begin with prefix, or nil if
// there is none.
func after(prefix string) []byte {
	p := []byte(prefix)
	for len(p) > 0 && p[len(p)-1] == 0xff {
		p = p[:len(p)-1]
	}
	if len(p) == 0 {
		return nil
	}
	p[len(p)-1]++
	return p
}
