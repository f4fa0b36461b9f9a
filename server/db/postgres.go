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
	"github.com/jackc/pgx/v5/pgxpool"
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
	w    *postgresWriter

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
	p.w = &postgresWriter{cfg: &p.cfg.Config}
	if err := p.w.connect(octx); err != nil {
		return nil, explainPostgres(p.cfg, err)
	}
	if err := p.prove(); err != nil {
		p.w.drop()
		return nil, err
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		p.w.drop()
		return nil, explainPostgres(p.cfg, err)
	}
	return p, nil
}

// prove refuses a database in which a commit is not durable.
func (p *postgresDB) prove() error {
	var fsync, encoding string
	if err := p.w.p.deadline(time.Now().Add(2 * connectTimeout)); err != nil {
		return explainPostgres(p.cfg, err)
	}
	if err := p.w.query("SELECT current_setting('fsync'), current_setting('server_encoding')", nil, func(s scanner) bool {
		return s.scan([]any{&fsync, &encoding}) == nil
	}); err != nil {
		return explainPostgres(p.cfg, err)
	}
	if err := p.w.p.deadline(time.Time{}); err != nil {
		return explainPostgres(p.cfg, err)
	}
	if fsync != "on" {
		return errors.New("the database runs with fsync off, so acknowledged messages could be lost: switch it on")
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
	return p.read(ctx, fn, &viewConn{begin: true})
}

func (p *postgresDB) peek(ctx context.Context, fn func(*Tx) error) error {
	return p.read(ctx, fn, &viewConn{})
}

// read runs fn on one of the reading connections. When ctx ends the
// connection is given up, so that no one waits for an answer that no one
// wants.
func (p *postgresDB) read(ctx context.Context, fn func(*Tx) error, v *viewConn) error {
	c, err := p.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return p.d.unreadable(err)
	}
	defer c.Release()
	pc := c.Conn().PgConn()
	v.p = pipeOf(pc)
	stop := context.AfterFunc(ctx, func() { v.p.interrupt() })
	tx := &Tx{ctx: ctx, conn: v, now: p.d.cfg.Now()}
	err = run(tx, fn)
	if !stop() {
		v.p.abandon()
		if tx.broken != nil {
			return ctx.Err()
		}
		return err
	}
	end := v.end()
	if v.p.open {
		v.p.abandon()
	}
	if tx.broken != nil {
		return p.d.unreadable(tx.broken)
	}
	if end != nil && err == nil {
		return p.d.unreadable(end)
	}
	return err
}

func (p *postgresDB) writer() batcher { return p.w }

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
	p.w.drop()
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
	c := p.w
	stop := context.AfterFunc(ctx, c.p.interrupt)
	defer func() {
		if !stop() {
			c.drop() // begin makes a new connection
		} else if err != nil {
			c.rollback()
		}
	}()
	if _, err := c.exec("BEGIN", nil); err != nil {
		return explainPostgres(p.cfg, err)
	}
	// Several nodes may start at once; one changes the tables, the others wait.
	if _, err := c.exec("SELECT pg_advisory_xact_lock(7238914563)", nil); err != nil {
		return explainPostgres(p.cfg, err)
	}
	for _, sql := range statements(ownSchema) {
		if _, err := c.exec(sql, nil); err != nil {
			return explainPostgres(p.cfg, err)
		}
	}
	have, err := versions(c)
	if err != nil {
		return err
	}
	todo, err := planFor(have, schemas)
	if err != nil {
		return err
	}
	if upgrades(todo) {
		name, err := p.keepCopy(c, todo)
		if err != nil {
			return fmt.Errorf("copying tables before the migration: %w", err)
		}
		p.d.cfg.Log.Info("store: kept a copy before the migration", "schema", name)
	}
	if err := apply(c, todo); err != nil {
		return err
	}
	if _, err := c.exec("COMMIT", nil); err != nil {
		return err
	}
	// A migration is never run again.
	return c.p.forget()
}

// keepCopy copies the tables of the sets that change.
func (p *postgresDB) keepCopy(c conn, todo []plan) (string, error) {
	name := fmt.Sprintf("before_%d", p.d.cfg.Now().UnixMilli())
	if _, err := c.exec("CREATE SCHEMA "+name, nil); err != nil {
		return "", err
	}
	for _, t := range todo {
		for _, table := range tableNames(t.schema) {
			if t.have < 0 {
				continue
			}
			var there bool
			if err := c.query("SELECT to_regclass($1) IS NOT NULL", []any{table}, func(s scanner) bool {
				return s.scan([]any{&there}) == nil
			}); err != nil {
				return "", err
			}
			if !there {
				continue
			}
			if _, err := c.exec("CREATE TABLE "+name+"."+table+" AS TABLE "+table, nil); err != nil {
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
