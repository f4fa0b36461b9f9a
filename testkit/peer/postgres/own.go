package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// A Cluster is a PostgreSQL server of a test's own, which the test may stop
// and start again. It goes when the test ends.
type Cluster struct {
	c    *cluster
	once sync.Once
	err  error
}

// New makes and starts a cluster. Where PostgreSQL is not installed the rule
// of package require holds.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	_, err := Programs()
	require.Peer(tb, "PostgreSQL", err)
	c, err := start()
	if err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.keeper.Release(); err != nil {
			tb.Errorf("postgres: stopping: %v", err)
		}
	})
	return &Cluster{c: c}
}

// URL returns the URL of the cluster's one database, which is made by the
// first call.
func (c *Cluster) URL() (string, error) {
	c.once.Do(func() { c.err = c.c.exec("CREATE DATABASE quinta") })
	return c.c.url("quinta"), c.err
}

// Stop stops the server, cutting its connections off, and returns when it is
// gone.
func (c *Cluster) Stop() error {
	if err := c.c.keeper.Say("stop"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := os.Stat(filepath.Join(c.c.dir, "data", "postmaster.pid"))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Start starts the server again after Stop and returns when it answers.
func (c *Cluster) Start() error {
	if err := c.c.keeper.Say("start"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return c.c.ready(ctx)
}
