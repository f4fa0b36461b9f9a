package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
)

// The databases.
const (
	sqlite     = "sqlite"
	postgresql = "postgres"
)

// A store is a fresh database and folder for one server.
type store struct {
	kind string
	dir  string
	url  string
	drop func() error
	// watch reads the statistics of PostgreSQL; postmaster is its main
	// process.
	watch      *pgx.Conn
	postmaster int
}

func newStore(ctx context.Context, kind string) (*store, error) {
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	s := &store{kind: kind, dir: dir, drop: func() error { return nil }}
	if kind == sqlite {
		return s, nil
	}
	if s.url, s.drop, err = postgres.Database(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.look(ctx); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// look opens the connection for statistics and finds the main process, which
// is the parent of the connection's.
func (s *store) look(ctx context.Context) (err error) {
	if s.watch, err = pgx.Connect(ctx, s.url); err != nil {
		return err
	}
	var pid int
	if err := s.watch.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	st, err := machine.StatOf(pid)
	s.postmaster = st.Parent
	return err
}

func (s *store) close(ctx context.Context) error {
	var err error
	if s.watch != nil {
		err = s.watch.Close(ctx)
	}
	return errors.Join(err, s.drop(), os.RemoveAll(s.dir))
}

// config is the store as server/db opens it.
func (s *store) config() db.Config {
	c := db.Config{URL: s.url, Now: time.Now}
	if s.kind == sqlite {
		c.Path = filepath.Join(s.dir, "quinta.db")
	}
	return c
}

func (s *store) media() string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(s.dir, "media")}).String()
}

// args are the arguments of quintad for this store.
func (s *store) args() []string {
	a := []string{"--data", s.dir}
	if s.kind == postgresql {
		a = append(a, "--database", s.url, "--blobs", s.media())
	}
	return a
}

// cpu returns the processor time of all processes of PostgreSQL, zero for an
// embedded store.
func (s *store) cpu() (time.Duration, error) {
	if s.postmaster == 0 {
		return 0, nil
	}
	main, err := machine.StatOf(s.postmaster)
	if err != nil {
		return 0, err
	}
	sum := main.Own + main.Children
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process may end while it is looked at.
		if st, err := machine.StatOf(pid); err == nil && st.Parent == s.postmaster {
			sum += st.Own
		}
	}
	return sum, nil
}

// syncs returns how often the log of PostgreSQL was synced.
func (s *store) syncs(ctx context.Context) (float64, error) {
	var n int64
	if err := s.watch.QueryRow(ctx, "SELECT wal_sync FROM pg_stat_wal").Scan(&n); err != nil {
		return 0, fmt.Errorf("pg_stat_wal: %w", err)
	}
	return float64(n), nil
}
