package kill_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/kill"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// kills is how many times the server is killed; readyIn how soon it is to be
// back.
const (
	kills   = 20
	readyIn = 2 * time.Second
)

// each runs a test on both databases.
func each(t *testing.T, f func(t *testing.T, s *quintad.Server)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, quintad.Start(t, quintad.Config{}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, quintad.Start(t, quintad.Config{Database: postgres.URL(t)}))
	})
}

// TestKill9 kills the server twenty times under load.
func TestKill9(t *testing.T) {
	each(t, func(t *testing.T, s *quintad.Server) {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		t.Logf("seed %d", seed)
		l := kill.Start(t, s.URL())
		l.StartChats(s.Command)
		var back []time.Duration
		for range kills {
			l.Await(20 + random.Int64N(80))
			s.Kill9()
			s.Restart()
			back = append(back, s.Started)
		}
		l.Await(100)
		l.Stop()
		l.Check()
		l.CheckAudit(s.Command("ca", "show", "--audit", "10000"))
		slices.Sort(back)
		// Other programs may take the machine for a moment; a slow start of
		// the server's own is slow every time.
		if median := back[len(back)/2]; median > readyIn {
			t.Errorf("got ready in %s, want %s", median, readyIn)
		}
		t.Logf("%d answers kept; ready again in %s, at most %s", l.Acknowledged(), back[len(back)/2], back[len(back)-1])
	})
}

// TestStopUnderLoad stops the server in good order under load.
func TestStopUnderLoad(t *testing.T) {
	each(t, func(t *testing.T, s *quintad.Server) {
		l := kill.Start(t, s.URL())
		for range 3 {
			l.Await(50)
			s.Stop()
			s.Restart()
		}
		l.Await(50)
		l.Stop()
		l.Check()
	})
}
