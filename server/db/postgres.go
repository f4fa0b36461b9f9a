package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quinta-chat/quinta"
)

const (
	// postgresReaders is the default number of reading connections.
	postgresReaders = 8
	// connectTimeout bounds one try to reach the database.
	connectTimeout = 5 * time.Second
)

// postgresDB is the engine for several nodes. One connection of each node
// writes; the row lock on the position counter lets one node write at a time.
type postgresDB struct {
	d    *DB
	cfg  *pgx.ConnConfig
	pool *pgxpool.Pool
	w    *pgx.Conn

	saved bool

	wake *notifier
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func openPostgres(ctx context.Context, d *DB) (backend, error) {
	pc, err := pgxpool.ParseConfig(d.cfg.URL)
	if err != nil {
		// The error of the parser may quote the URL with its password.
		return nil, errors.New("the database URL is not valid: it looks like postgres://user@host:5432/name")
	}
	pc.ConnConfig.ConnectTimeout = connectTimeout
	rp := pc.ConnConfig.RuntimeParams
	rp["application_name"] = "quintad"
	rp["timezone"] = "UTC"
	rp["idle_in_transaction_session_timeout"] = "15000"
	rp["statement_timeout"] = "30000"
	rp["synchronous_commit"] = "on"
	pc.MaxConns = postgresReaders
	if d.cfg.Readers > 0 {
		pc.MaxConns = int32(d.cfg.Readers)
	}
	pc.MinConns = 0
	p := &postgresDB{d: d, cfg: pc.ConnConfig.Copy()}
	octx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	if p.w, err = pgx.ConnectConfig(octx, p.cfg); err != nil {
		return nil, explainPostgres(p.cfg, err)
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return nil, errors.Join(explainPostgres(p.cfg, err), p.w.Close(ctx))
	}
	if err := p.prove(octx); err != nil {
		p.pool.Close()
		return nil, errors.Join(err, p.w.Close(ctx))
	}
	return p, nil
}

// prove refuses a database in which a commit is not durable.
func (p *postgresDB) prove(ctx context.Context) error {
	var fsync, encoding string
	if err := p.w.QueryRow(ctx, "SELECT current_setting('fsync'), current_setting('server_encoding')").Scan(&fsync, &encoding); err != nil {
		return explainPostgres(p.cfg, err)
	}
	if fsync != "on" {
		return errors.New("the database runs with fsync off, so an acknowledged message could be lost: switch it on")
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s: create it with encoding UTF8", encoding)
	}
	return nil
}

// explainPostgres turns what an operator may meet into one clear line without
// the password.
func explainPostgres(cfg *pgx.ConnConfig, err error) error {
	where := fmt.Sprintf("database %q on %s:%d", cfg.Database, cfg.Host, cfg.Port)
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s refuses: %s", where, pe.Message)
	}
	return fmt.Errorf("%s does not answer: is PostgreSQL running, and is the address right?", where)
}

func (p *postgresDB) view(ctx context.Context, fn func(*Tx) error) error {
	c, err := p.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return p.d.unreadable(err)
	}
	defer c.Release()
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return p.d.unreadable(err)
	}
	pc := &postgresConn{c: c.Conn()}
	tx := &Tx{ctx: ctx, conn: pc, now: p.d.cfg.Now()}
	err = run(tx, fn)
	// The end must reach the database even if ctx has ended.
	ectx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if _, end := c.Exec(ectx, "COMMIT"); end != nil && err == nil {
		return p.d.unreadable(end)
	}
	if tx.broken != nil && ctx.Err() == nil {
		return p.d.unreadable(tx.broken)
	}
	return err
}

func (p *postgresDB) writer() batcher { return p }

func (p *postgresDB) begin(ctx context.Context) (conn, quinta.Pos, error) {
	var err error
	for try := 0; ; try++ {
		if p.w == nil || p.w.IsClosed() {
			if p.w, err = pgx.ConnectConfig(ctx, p.cfg); err != nil {
				p.w = nil
				return nil, 0, err
			}
		}
		var pos quinta.Pos
		if pos, err = p.lock(ctx); err == nil {
			p.saved = false
			return &postgresConn{c: p.w}, pos, nil
		}
		p.drop()
		// A connection that died while it was idle is worth one new one.
		if try > 0 {
			return nil, 0, err
		}
	}
}

// lock begins the transaction and takes the row lock that orders all writes.
func (p *postgresDB) lock(ctx context.Context) (quinta.Pos, error) {
	var pos int64
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue("SELECT pos FROM store_position WHERE one = 1 FOR UPDATE")
	r := p.w.SendBatch(ctx, b)
	_, err := r.Exec()
	if err == nil {
		err = r.QueryRow().Scan(&pos)
	}
	return quinta.Pos(pos), errors.Join(err, r.Close())
}

// save ends the savepoint of the last request and begins the next one, in one
// round trip.
func (p *postgresDB) save(ctx context.Context) error {
	sql := "SAVEPOINT request"
	if p.saved {
		sql = "RELEASE SAVEPOINT request; SAVEPOINT request"
	}
	_, err := p.w.PgConn().Exec(ctx, sql).ReadAll()
	p.saved = err == nil
	return err
}

func (p *postgresDB) undo(ctx context.Context) error {
	_, err := p.w.PgConn().Exec(ctx, "ROLLBACK TO SAVEPOINT request").ReadAll()
	return err
}

func (p *postgresDB) commit(ctx context.Context, pos quinta.Pos) error {
	b := &pgx.Batch{}
	b.Queue("UPDATE store_position SET pos = $1 WHERE one = 1 AND pos <> $1", int64(pos))
	b.Queue("COMMIT")
	r := p.w.SendBatch(ctx, b)
	_, err := r.Exec()
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = r.Exec()
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if tag.String() != "COMMIT" {
		return errors.New("the database rolled the transaction back")
	}
	return nil
}

func (p *postgresDB) rollback() {
	if p.w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if _, err := p.w.Exec(ctx, "ROLLBACK"); err != nil {
		p.drop()
	}
}

// drop closes the writing connection; begin makes a new one.
func (p *postgresDB) drop() {
	if p.w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.w.Close(ctx) // the connection is lost already; nothing hangs on its goodbye
	p.w = nil
}

func (p *postgresDB) publish(keys []string) {
	if p.wake != nil {
		p.wake.put(keys)
	}
}

func (p *postgresDB) close() error {
	if p.stop != nil {
		p.stop()
		p.wg.Wait()
	}
	p.drop()
	p.pool.Close()
	return nil
}

// migrate changes the tables in one transaction, and keeps copies of the
// tables of each set that changes in a schema of their own.
func (p *postgresDB) migrate(ctx context.Context, schemas []Schema) error {
	if err := p.tables(ctx, schemas); err != nil {
		return err
	}
	return p.startWake(ctx)
}

func (p *postgresDB) tables(ctx context.Context, schemas []Schema) (err error) {
	tx, err := p.w.Begin(ctx)
	if err != nil {
		return explainPostgres(p.cfg, err)
	}
	defer func() {
		if err != nil {
			p.rollback()
		}
	}()
	// Several nodes may start at once; one changes the tables, the others wait.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7238914563)"); err != nil {
		return explainPostgres(p.cfg, err)
	}
	c := &postgresConn{c: p.w}
	for _, sql := range statements(ownSchema) {
		if _, err := c.exec(ctx, sql, nil); err != nil {
			return explainPostgres(p.cfg, err)
		}
	}
	have, err := versions(ctx, c)
	if err != nil {
		return err
	}
	todo, err := planFor(have, schemas)
	if err != nil {
		return err
	}
	if upgrades(todo) {
		name, err := p.keepCopy(ctx, c, todo)
		if err != nil {
			return fmt.Errorf("copying tables before their change: %w", err)
		}
		p.d.cfg.Log.Info("store: kept a copy before the change of its tables", "schema", name)
	}
	if err := apply(ctx, c, todo); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// keepCopy copies the tables of the sets that change.
func (p *postgresDB) keepCopy(ctx context.Context, c conn, todo []plan) (string, error) {
	name := fmt.Sprintf("before_%d", p.d.cfg.Now().UnixMilli())
	if _, err := c.exec(ctx, "CREATE SCHEMA "+name, nil); err != nil {
		return "", err
	}
	for _, t := range todo {
		for _, table := range tableNames(t.schema) {
			if t.have < 0 {
				continue
			}
			var there bool
			if err := c.query(ctx, "SELECT to_regclass($1) IS NOT NULL", []any{table}, func(s scanner) bool {
				return s.scan([]any{&there}) == nil
			}); err != nil {
				return "", err
			}
			if !there {
				continue
			}
			if _, err := c.exec(ctx, "CREATE TABLE "+name+"."+table+" AS TABLE "+table, nil); err != nil {
				return "", err
			}
		}
	}
	return name, nil
}

// tableNames finds the tables that a schema makes.
func tableNames(s Schema) []string {
	var names []string
	for _, text := range append([]string{s.Base}, s.Changes...) {
		for _, sql := range statements(text) {
			f := strings.Fields(sql)
			if len(f) > 2 && strings.EqualFold(f[0], "create") && strings.EqualFold(f[1], "table") {
				name, _, _ := strings.Cut(f[2], "(")
				names = append(names, name)
			}
		}
	}
	return names
}

// A postgresConn is one connection inside a transaction.
type postgresConn struct{ c *pgx.Conn }

func (c *postgresConn) exec(ctx context.Context, sql string, args []any) (int64, error) {
	tag, err := c.c.Exec(ctx, sql, args...)
	if err != nil {
		return 0, sqlError(sql, err)
	}
	return tag.RowsAffected(), nil
}

func (c *postgresConn) query(ctx context.Context, sql string, args []any, yield func(scanner) bool) error {
	rows, err := c.c.Query(ctx, sql, args...)
	if err != nil {
		return sqlError(sql, err)
	}
	defer rows.Close()
	r := postgresRow{rows}
	for rows.Next() {
		if !yield(&r) {
			break
		}
	}
	rows.Close()
	return sqlError(sql, rows.Err())
}

// fatal reports whether the connection is lost. Any other error is undone by
// the savepoint.
func (c *postgresConn) fatal(err error) bool {
	if c.c.IsClosed() {
		return true
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pe.Code, "57P") || strings.HasPrefix(pe.Code, "53") || strings.HasPrefix(pe.Code, "40")
	}
	return false
}

func sqlError(sql string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (in %.60q)", err, sql)
}

func postgresFull(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == "53100"
}

type postgresRow struct{ rows pgx.Rows }

func (r *postgresRow) scan(dest []any) error {
	vals := r.rows.RawValues()
	fields := r.rows.FieldDescriptions()
	if len(vals) != len(dest) {
		return fmt.Errorf("db: %d columns scanned into %d values", len(vals), len(dest))
	}
	for i, d := range dest {
		cell := postgresCell{raw: vals[i], oid: fields[i].DataTypeOID, binary: fields[i].Format == pgtype.BinaryFormatCode}
		if err := assign(d, cell); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}
