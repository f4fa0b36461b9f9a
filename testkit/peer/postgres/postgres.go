// Package postgres gives a test a real PostgreSQL database of its own. [URL]
// is the one call: the first of a test binary makes a private cluster with
// the machine's PostgreSQL programs, every call makes one empty database in
// it. Nothing has to be running beforehand and nothing stays behind.
//
// The cluster writes as a production one does (fsync on); it listens on a
// Unix socket in a private folder, never on the network. It stops and its
// folder goes when the test binary ends, in whatever way it ends.
package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// wait bounds every step of the cluster's life: making it, starting it,
// making and dropping a database.
const wait = 60 * time.Second

// shared is the one cluster of this test binary, made at the first call.
var shared = sync.OnceValues(start)

// made counts the databases, to name them.
var made atomic.Int64

// URL makes an empty UTF-8 database and returns its postgres:// URL; the
// database is dropped when the test ends, with whoever is still connected.
// Where PostgreSQL is not installed the rule of package require holds.
func URL(tb testing.TB) string {
	tb.Helper()
	_, err := Programs()
	require.Peer(tb, "PostgreSQL", err)
	u, drop, err := Database()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := drop(); err != nil {
			tb.Error(err)
		}
	})
	return u
}

// Database is URL for programs that are no tests: the caller drops the
// database.
func Database() (url string, drop func() error, err error) {
	c, err := shared()
	if err != nil {
		return "", nil, fmt.Errorf("postgres: %w", err)
	}
	name := fmt.Sprintf("quinta_%d", made.Add(1))
	if err := c.exec("CREATE DATABASE " + name); err != nil {
		return "", nil, fmt.Errorf("postgres: making a database: %w", err)
	}
	return c.url(name), func() error {
		if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			return fmt.Errorf("postgres: dropping a database: %w", err)
		}
		return nil
	}, nil
}

// Programs returns the folder of the newest PostgreSQL server programs of
// this machine, or an error that says where it looked. They are not on the
// path in Debian and its like.
func Programs() (string, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		dirs = append(dirs, newestFirst(found)...)
	}
	for _, dir := range dirs {
		if runnable(filepath.Join(dir, "initdb")) && runnable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no initdb and postgres on the path or in /usr/lib/postgresql")
}

// runnable reports whether path is a file that may be executed.
func runnable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// url returns the URL of the database called name.
func (c *cluster) url(name string) string {
	q := url.Values{"host": {c.dir}, "user": {superuser}, "sslmode": {"disable"}}
	return "postgres:///" + name + "?" + q.Encode()
}

// exec runs one statement in the maintenance database.
func (c *cluster) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return err
}
