package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quinta-chat/quinta/testkit/peer/postgres"
)

// connect opens a connection that closes with the test.
func connect(t *testing.T, u string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestURLGivesEmptyDatabases(t *testing.T) {
	t.Parallel()
	a, b := postgres.URL(t), postgres.URL(t)
	if a == b {
		t.Fatalf("got %q twice, want two databases", a)
	}
	ca, cb := connect(t, a), connect(t, b)
	if _, err := ca.Exec(t.Context(), "CREATE TABLE mine (word TEXT)"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := cb.QueryRow(t.Context(), "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("got %d tables in a new database, want none", n)
	}
}

func TestWritesAreDurable(t *testing.T) {
	t.Parallel()
	c := connect(t, postgres.URL(t))
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var got string
		if err := c.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != "on" {
			t.Errorf("got %s %q, want on", name, got)
		}
	}
	var coding, listen string
	if err := c.QueryRow(t.Context(), "SELECT current_setting('server_encoding'), current_setting('listen_addresses')").Scan(&coding, &listen); err != nil {
		t.Fatal(err)
	}
	if coding != "UTF8" || listen != "" {
		t.Errorf("got encoding %q, listening on %q: want UTF8 and no network", coding, listen)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	postgres.URL(t) // applies the rule for a missing PostgreSQL
	var inner string
	t.Run("use", func(t *testing.T) {
		inner = postgres.URL(t)
		// This connection stays open on purpose: the drop must not wait for it.
		if _, err := pgx.Connect(t.Context(), inner); err != nil {
			t.Fatal(err)
		}
	})
	_, err := pgx.Connect(t.Context(), inner)
	if err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v, want that the database does not exist", err)
	}
}

// TestClusterEndsWithItsProcess runs this test binary a second time as a
// process that uses a cluster and is killed: server and folder must go.
func TestClusterEndsWithItsProcess(t *testing.T) {
	const child = "QUINTA_POSTGRES_TEST_CHILD"
	if os.Getenv(child) != "" {
		u := postgres.URL(t)
		if _, err := os.Stdout.WriteString("url " + u + "\n"); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // until killed
	}
	t.Parallel()
	postgres.URL(t) // applies the rule for a missing PostgreSQL
	cmd := exec.Command(os.Args[0], "-test.run=^TestClusterEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, rerr := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) {
		t.Fatalf("got %v, want a killed process", err)
	}
	if rerr != nil {
		t.Fatalf("reading the URL: %v", rerr)
	}
	u, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "url ")))
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	if dir == "" {
		t.Fatalf("got %q, want a URL with a socket folder", line)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", dir)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStopAndStartAgain(t *testing.T) {
	t.Parallel()
	c := postgres.New(t)
	u, err := c.URL()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, u).Exec(t.Context(), "CREATE TABLE kept (word TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), u); err == nil {
		t.Error("the server takes connections after Stop")
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, u).Exec(t.Context(), "SELECT word FROM kept"); err != nil {
		t.Errorf("got %v, want what was there before", err)
	}
}
