package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/quinta-chat/quinta"
)

// sqliteReaders is the default number of read-only connections.
const sqliteReaders = 3

// sqliteDB is the embedded engine: one writing connection, some reading ones.
type sqliteDB struct {
	d       *DB
	path    string
	vfs     string
	w       *sqliteConn
	readers chan *sqliteConn // idle or, as nil, not opened yet
	size    int
}

func openSQLite(ctx context.Context, d *DB) (backend, error) {
	n := d.cfg.Readers
	if n <= 0 {
		n = sqliteReaders
	}
	s := &sqliteDB{d: d, path: d.cfg.Path, vfs: registerVFS(d), readers: make(chan *sqliteConn, n), size: n}
	_, statErr := os.Stat(s.path)
	if statErr != nil && !errors.Is(statErr, os.ErrNotExist) {
		return nil, fmt.Errorf("opening the store: %w", statErr)
	}
	var err error
	if s.w, err = s.open(writing); err != nil {
		vfs.Unregister(s.vfs)
		return nil, s.explain(err)
	}
	if err := s.prove(); err != nil {
		s.w.close()
		vfs.Unregister(s.vfs)
		return nil, s.explain(err)
	}
	if statErr != nil {
		if err := syncDir(filepath.Dir(s.path)); err != nil {
			s.w.close()
			vfs.Unregister(s.vfs)
			return nil, fmt.Errorf("opening the store: %w", err)
		}
	}
	for range n {
		s.readers <- nil
	}
	return s, nil
}

// The purposes of a connection.
const (
	reading = iota
	writing
	// copying reads too, but SQLite counts VACUUM INTO as a write.
	copying
)

// open opens one connection with the settings that durability rests on.
func (s *sqliteDB) open(use int) (*sqliteConn, error) {
	name := "file:" + uriPath(s.path) + "?vfs=" + s.vfs
	flags := sqlite3.OPEN_READWRITE | sqlite3.OPEN_URI
	if use == writing {
		flags |= sqlite3.OPEN_CREATE
	}
	c, err := sqlite3.OpenFlags(name, flags)
	if err != nil {
		return nil, err
	}
	cache := -2000
	if use == writing {
		cache = -6000
	}
	// The log is copied into the file every 16 MB: pages that change often,
	// those of the indexes, are then copied a quarter as often as by default.
	// What is deleted is overwritten: a redacted text does not stay in the file.
	pragmas := "PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY; " +
		"PRAGMA journal_size_limit=16777216; PRAGMA trusted_schema=OFF; PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=" + strconv.Itoa(cache) + ";"
	if use == reading {
		pragmas += " PRAGMA query_only=ON;"
	}
	if err := c.Exec(pragmas); err != nil {
		c.Close()
		return nil, err
	}
	return &sqliteConn{c: c, stmts: map[string]*stmtEntry{}}, nil
}

// prove reads back the two settings without which a commit is not durable.
func (s *sqliteDB) prove() error {
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
		st, _, err := s.w.c.Prepare("PRAGMA " + pragma)
		if err != nil {
			return err
		}
		got := ""
		if st.Step() {
			got = st.ColumnText(0)
		}
		if err := errors.Join(st.Err(), st.Close()); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the store's %s is %q, but durable writes need %q; can its file system lock and map files?", pragma, got, want)
		}
	}
	return nil
}

// explain turns what an operator may meet into one clear line.
func (s *sqliteDB) explain(err error) error {
	switch {
	case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT):
		return fmt.Errorf("the store %s is damaged or not a store; nothing was changed: restore it from a backup", s.path)
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return fmt.Errorf("the store %s is locked by another process", s.path)
	case errors.Is(err, sqlite3.FULL):
		return fmt.Errorf("there is no space left for the store %s", s.path)
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.CANTOPEN), errors.Is(err, sqlite3.PERM):
		return fmt.Errorf("the store %s cannot be opened for writing: check the folder and its permissions", s.path)
	}
	return fmt.Errorf("opening the store %s: %w", s.path, err)
}

func (s *sqliteDB) view(ctx context.Context, fn func(*Tx) error) (err error) {
	var c *sqliteConn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- c }()
	if c == nil {
		if c, err = s.open(reading); err != nil {
			return s.d.unreadable(err)
		}
	}
	if err := c.run("BEGIN"); err != nil {
		return s.d.unreadable(err)
	}
	tx := &Tx{ctx: ctx, conn: c, now: s.d.cfg.Now(), rehearse: s.d.cfg.Rehearse}
	err = run(tx, fn)
	if end := c.run("COMMIT"); end != nil {
		c.close()
		c = nil
		if err == nil {
			err = s.d.unreadable(end)
		}
	}
	return err
}

// peek is view: an embedded store has no round trips to save.
func (s *sqliteDB) peek(ctx context.Context, fn func(*Tx) error) error { return s.view(ctx, fn) }

func (s *sqliteDB) writer() batcher { return s }

func (s *sqliteDB) begin(context.Context) (conn, quinta.Pos, error) {
	if s.w == nil {
		w, err := s.open(writing)
		if err != nil {
			return nil, 0, err
		}
		s.w = w
	}
	if err := s.w.run("BEGIN IMMEDIATE"); err != nil {
		s.rollback()
		return nil, 0, err
	}
	var pos quinta.Pos
	err := s.w.query("SELECT pos FROM store_position WHERE one = 1", nil, func(sc scanner) bool {
		return sc.scan([]any{&pos}) == nil
	})
	if err != nil {
		s.rollback()
		return nil, 0, err
	}
	return s.w, pos, nil
}

func (s *sqliteDB) save(*request) error {
	// A savepoint of the same name hides the earlier one; the commit ends all.
	if err := s.w.release(); err != nil {
		return err
	}
	s.w.saved = true
	return s.w.run("SAVEPOINT request")
}

func (s *sqliteDB) undo() error {
	return s.w.run("ROLLBACK TO request")
}

func (s *sqliteDB) commit(pos quinta.Pos) error {
	if err := s.w.release(); err != nil {
		return err
	}
	if _, err := s.w.exec("UPDATE store_position SET pos = $1 WHERE one = 1 AND pos <> $1", []any{int64(pos)}); err != nil {
		return err
	}
	return s.w.run("COMMIT")
}

// rollback ends the transaction. If even that fails the connection is reopened
// for the next batch; the log of SQLite keeps what was committed.
func (s *sqliteDB) rollback() {
	if s.w == nil {
		return
	}
	s.w.saved = false
	if s.w.c.GetAutocommit() {
		return
	}
	if err := s.w.run("ROLLBACK"); err != nil {
		s.w.close()
		s.w = nil
	}
}

func (s *sqliteDB) publish([]string) {}

func (s *sqliteDB) close() error {
	var errs []error
	deadline := time.After(10 * time.Second)
	for range s.size {
		select {
		case c := <-s.readers:
			if c != nil {
				errs = append(errs, c.close())
			}
		case <-deadline:
			errs = append(errs, errors.New("closing the store: a reader did not finish in 10 seconds"))
		}
	}
	if s.w != nil {
		errs = append(errs, s.w.close())
	}
	vfs.Unregister(s.vfs)
	return errors.Join(errs...)
}

// backup copies the store as it is now into a new file.
func (s *sqliteDB) backup(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s exists already", path)
	}
	c, err := s.open(copying)
	if err != nil {
		return s.d.unreadable(err)
	}
	defer c.close()
	c.c.SetInterrupt(ctx)
	if err := c.c.Exec("VACUUM INTO '" + strings.ReplaceAll(path, "'", "''") + "'"); err != nil {
		return errors.Join(fmt.Errorf("copying the store: %w", err), removeIfThere(path))
	}
	return syncFile(path)
}

// A sqliteConn is one connection with its prepared statements.
type sqliteConn struct {
	c     *sqlite3.Conn
	stmts map[string]*stmtEntry
	saved bool
}

type stmtEntry struct{ st *sqlite3.Stmt }

// close ends the prepared statements and the connection.
func (c *sqliteConn) close() error {
	var errs []error
	for _, e := range c.stmts {
		errs = append(errs, e.st.Close())
	}
	clear(c.stmts)
	return errors.Join(append(errs, c.c.Close())...)
}

// maxStmts bounds the prepared statements of one connection; texts are fixed
// in the source, but those with lists differ by the length of the list.
const maxStmts = 400

// prepare returns the prepared statement of sql.
func (c *sqliteConn) prepare(sql string) (*stmtEntry, error) {
	if e := c.stmts[sql]; e != nil {
		return e, nil
	}
	st, tail, err := c.c.Prepare(numbered(sql))
	if err != nil {
		return nil, fmt.Errorf("%w (in %.60q)", err, sql)
	}
	if st == nil || strings.TrimSpace(tail) != "" {
		return nil, fmt.Errorf("db: one statement at a time (in %.60q)", sql)
	}
	if len(c.stmts) >= maxStmts {
		for k, e := range c.stmts {
			e.st.Close()
			delete(c.stmts, k)
			break
		}
	}
	e := &stmtEntry{st: st}
	c.stmts[sql] = e
	return e, nil
}

// numbered turns $n into SQLite's ?n; a $ inside a quoted text stays.
func numbered(sql string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '$' && !quoted:
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (c *sqliteConn) bind(sql string, args []any) (*stmtEntry, error) {
	e, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	if n := e.st.BindCount(); n != len(args) {
		return nil, fmt.Errorf("db: %d arguments for %d parameters (in %.60q)", len(args), n, sql)
	}
	for i, a := range args {
		switch v := a.(type) {
		case nil:
			err = e.st.BindNull(i + 1)
		case string:
			err = e.st.BindText(i+1, v)
		case []byte:
			if v == nil {
				err = e.st.BindNull(i + 1)
			} else {
				err = e.st.BindBlob(i+1, v)
			}
		case int64:
			err = e.st.BindInt64(i+1, v)
		case bool:
			err = e.st.BindBool(i+1, v)
		default:
			err = fmt.Errorf("db: cannot bind a %T", a)
		}
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (c *sqliteConn) run(sql string) error {
	_, err := c.exec(sql, nil)
	return err
}

func (c *sqliteConn) release() error {
	if !c.saved {
		return nil
	}
	c.saved = false
	return c.run("RELEASE request")
}

func (c *sqliteConn) exec(sql string, args []any) (int64, error) {
	e, err := c.bind(sql, args)
	if err != nil {
		return 0, err
	}
	before := c.c.TotalChanges()
	for e.st.Step() {
	}
	if err := e.st.Reset(); err != nil {
		return 0, err
	}
	return c.c.TotalChanges() - before, nil
}

func (c *sqliteConn) later(sql string, args []any, a *Answer) error {
	if a == nil {
		_, err := c.exec(sql, args)
		return err
	}
	before := c.c.TotalChanges()
	err := c.query(sql, args, func(s scanner) bool {
		a.rows = append(a.rows, s.(*sqliteRow).kept())
		return true
	})
	if err == nil {
		a.done(c.c.TotalChanges() - before)
	}
	return err
}

func (c *sqliteConn) settle(func(scanner) bool) error { return nil }

func (c *sqliteConn) query(sql string, args []any, yield func(scanner) bool) error {
	e, err := c.bind(sql, args)
	if err != nil {
		return err
	}
	defer e.st.ClearBindings()
	row := sqliteRow{st: e.st}
	for e.st.Step() {
		if !yield(&row) {
			break
		}
	}
	return e.st.Reset()
}

// fatal reports whether SQLite has rolled the whole transaction back.
func (c *sqliteConn) fatal(error) bool { return c.c.GetAutocommit() }

type sqliteRow struct{ st *sqlite3.Stmt }

func (r *sqliteRow) scan(dest []any) error {
	if n := r.st.ColumnCount(); n != len(dest) {
		return fmt.Errorf("db: %d columns scanned into %d values", n, len(dest))
	}
	for i, d := range dest {
		if err := assign(d, sqliteCell{r.st, i}); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

type sqliteCell struct {
	st  *sqlite3.Stmt
	col int
}

func (c sqliteCell) null() bool   { return c.st.ColumnType(c.col) == sqlite3.NULL }
func (c sqliteCell) text() string { return c.st.ColumnText(c.col) }
func (c sqliteCell) bytes() []byte {
	return append([]byte{}, c.st.ColumnRawBlob(c.col)...)
}
func (c sqliteCell) integer() (int64, error) { return c.st.ColumnInt64(c.col), nil }

// kindOf says what a failed write is to the caller.
func (d *DB) kindOf(err error) quinta.Kind {
	if errors.Is(err, sqlite3.FULL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || postgresFull(err) {
		return quinta.KindFull
	}
	return quinta.KindUnavailable
}

func (d *DB) unreadable(err error) error {
	d.cfg.Log.Error("store: a read failed", "err", err)
	return &quinta.Error{Kind: quinta.KindUnavailable, Op: "store", Err: errors.New("the store does not answer")}
}

// uriPath escapes a path for SQLite's file: names.
func uriPath(p string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(p)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (c *sqliteConn) waits() bool { return false }

// foresee reads what was shown in a rehearsal, see Config.Rehearse.
func (c *sqliteConn) foresee(list []foreseen) error {
	for i := range list {
		a := &list[i].answer
		if err := c.query(list[i].sql, list[i].args, func(s scanner) bool {
			a.rows = append(a.rows, s.(*sqliteRow).kept())
			return true
		}); err != nil {
			return err
		}
		a.done(0)
	}
	return nil
}
