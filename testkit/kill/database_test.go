package kill_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quinta-chat/quinta/testkit/kill"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// TestDatabaseCutOff ends every connection of the server to its database under
// load, in the middle of transactions: it goes on by itself, and nothing is
// half done.
func TestDatabaseCutOff(t *testing.T) {
	t.Parallel()
	url := postgres.URL(t)
	s := quintad.Start(t, quintad.Config{Database: url})
	l := kill.Start(t, s.URL())
	l.Doubt()
	for range 10 {
		l.Await(40)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		const cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		var n int
		if err := conn.QueryRow(t.Context(), cut).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Error("the server had no connection to cut off")
		}
	}
	l.Await(100)
	l.Stop()
	l.Check()
}

// TestTwoNodesKilled kills two nodes over one database in turn, with clients
// on both.
func TestTwoNodesKilled(t *testing.T) {
	t.Parallel()
	c := quintad.Config{Database: postgres.URL(t), Media: t.TempDir()}
	nodes := []*quintad.Server{quintad.Start(t, c), quintad.Start(t, c)}
	l := kill.Start(t, nodes[0].URL(), nodes[1].URL())
	for i := range 10 {
		l.Await(60)
		nodes[i%2].Kill9()
		nodes[i%2].Restart()
	}
	l.Await(100)
	l.Stop()
	l.Check()
}
