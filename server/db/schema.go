package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/quinta-chat/quinta"
)

// ownSchema is what the store itself keeps: the position counter, the facts
// that hold for the whole store, and how far each set's tables are.
const ownSchema = `
CREATE TABLE IF NOT EXISTS store_position (one BIGINT PRIMARY KEY, pos BIGINT NOT NULL);
INSERT INTO store_position (one, pos) VALUES (1, 0) ON CONFLICT (one) DO NOTHING;
CREATE TABLE IF NOT EXISTS store_set (name TEXT PRIMARY KEY, version BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS store_fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)`

// ReadSchema makes the schema of a set from its files: schema.sql has the
// tables at the beginning, 001-what.sql, 002-what.sql ... the changes since.
// Files are part of the program, so what is wrong with them is a panic.
func ReadSchema(set string, files fs.ReadFileFS) Schema {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		panic("db: internal error: " + err.Error())
	}
	s := Schema{Set: set}
	for _, name := range names {
		raw, err := files.ReadFile(name)
		switch {
		case err != nil:
			panic("db: internal error: " + err.Error())
		case name == "schema.sql":
			s.Base = string(raw)
		case strings.HasPrefix(name, fmt.Sprintf("%03d-", len(s.Changes)+1)):
			s.Changes = append(s.Changes, string(raw))
		default:
			panic(fmt.Sprintf("db: internal error: the schema of %s has no change before %s", set, name))
		}
	}
	return s
}

// A plan is what a migration will do.
type plan struct {
	schema Schema
	have   int // number of changes applied; -1: the tables do not exist
}

// planFor compares the versions in the store with what this program knows.
func planFor(have map[string]int, schemas []Schema) ([]plan, error) {
	var todo []plan
	for _, s := range schemas {
		v, ok := have[s.Set]
		switch {
		case !ok:
			todo = append(todo, plan{s, -1})
		case v > len(s.Changes):
			return nil, fmt.Errorf("the store was written by a newer version of this program (%s is at %d, this version knows %d); nothing was changed: use the newer version", s.Set, v, len(s.Changes))
		case v < len(s.Changes):
			todo = append(todo, plan{s, v})
		}
	}
	return todo, nil
}

// upgrades reports whether the plan changes tables that exist.
func upgrades(todo []plan) bool {
	for _, p := range todo {
		if p.have >= 0 {
			return true
		}
	}
	return false
}

// versions reads how far each set is, from a store that may be new.
func versions(c conn) (map[string]int, error) {
	have := map[string]int{}
	var scanErr error
	err := c.query("SELECT name, version FROM store_set", nil, func(s scanner) bool {
		var name string
		var v int
		scanErr = s.scan([]any{&name, &v})
		have[name] = v
		return scanErr == nil
	})
	return have, errors.Join(err, scanErr)
}

// apply carries out the plan on an open transaction.
func apply(c conn, todo []plan) error {
	for _, p := range todo {
		texts := p.schema.Changes
		if p.have < 0 {
			texts = append([]string{p.schema.Base}, texts...)
		} else {
			texts = texts[p.have:]
		}
		for _, text := range texts {
			for _, sql := range statements(text) {
				if _, err := c.exec(sql, nil); err != nil {
					return fmt.Errorf("the tables of %s: %w", p.schema.Set, err)
				}
			}
		}
		if _, err := c.exec("INSERT INTO store_set (name, version) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
			[]any{p.schema.Set, int64(len(p.schema.Changes))}); err != nil {
			return err
		}
	}
	return nil
}

// statements splits a schema text at its semicolons. Texts hold no semicolon
// inside quotes or comments; a test of every set would fail if one did.
func statements(text string) []string {
	var out []string
	var clean strings.Builder
	for line := range strings.Lines(text) {
		if i := strings.Index(line, "--"); i >= 0 {
			line = line[:i] + "\n"
		}
		clean.WriteString(line)
	}
	for s := range strings.SplitSeq(clean.String(), ";") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (s *sqliteDB) migrate(ctx context.Context, schemas []Schema) (err error) {
	fail := func(err error) error {
		s.rollback()
		return s.explain(err)
	}
	if err := s.w.run("BEGIN IMMEDIATE"); err != nil {
		return fail(err)
	}
	for _, sql := range statements(ownSchema) {
		if err := s.w.run(sql); err != nil {
			return fail(err)
		}
	}
	have, err := versions(s.w)
	if err != nil {
		return fail(err)
	}
	todo, err := planFor(have, schemas)
	if err != nil {
		s.rollback()
		return err
	}
	if upgrades(todo) {
		// The copy is of what is committed, so it is taken between two
		// transactions; no other process has the store.
		if err := s.w.run("COMMIT"); err != nil {
			return fail(err)
		}
		copyPath := fmt.Sprintf("%s.before-%d", s.path, s.d.cfg.Now().UnixMilli())
		if err := s.backup(ctx, copyPath); err != nil {
			return fmt.Errorf("copying the store before the migration: %w", err)
		}
		s.d.cfg.Log.Info("store: kept a copy before the migration", "copy", copyPath)
		if err := s.w.run("BEGIN IMMEDIATE"); err != nil {
			return fail(err)
		}
	}
	if err := apply(s.w, todo); err != nil {
		return fail(err)
	}
	if err := s.w.run("COMMIT"); err != nil {
		return fail(err)
	}
	return nil
}

// Fact returns a value that holds for the whole store, such as its server
// name, or "" if it was never set.
func Fact(tx *Tx, name string) (string, error) {
	var v string
	err := tx.Row(`SELECT value FROM store_fact WHERE name = $1`, name).Scan(&v)
	if errors.Is(err, ErrNoRows) {
		return "", nil
	}
	return v, err
}

// SetFact sets a value that holds for the whole store.
func SetFact(tx *Tx, name, value string) error {
	if name == "" {
		return quinta.E(quinta.KindInvalid, "fact", "a fact needs a name")
	}
	return tx.Queue(`INSERT INTO store_fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
}
