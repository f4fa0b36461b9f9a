package crowd_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/crowd"
)

// TestRun: all clients are in their turns at once, each takes its turns one
// after the other, and all of them end.
func TestRun(t *testing.T) {
	t.Parallel()
	const n = 8
	var inside, most atomic.Int32
	rounds := make([]int, n)
	all := make(chan struct{})
	turns := crowd.Run(t, n, func(ctx context.Context, client, round int) error {
		if rounds[client] != round {
			t.Errorf("client %d: got turn %d, want %d", client, round, rounds[client])
		}
		rounds[client]++
		if inside.Add(1) == n {
			most.Store(n)
			if round == 0 {
				close(all)
			}
		}
		defer inside.Add(-1)
		select { // the others come, as they are let go at the same beat
		case <-all:
		case <-time.After(time.Minute):
			return errors.New("the others do not come")
		}
		return nil
	})
	sum := 0
	for _, r := range rounds {
		sum += r
		if r < 2 {
			t.Errorf("a client took %d turns, want 2 at least", r)
		}
	}
	if turns != sum || most.Load() != n {
		t.Errorf("got %d turns, %d at once, want %d, %d", turns, most.Load(), sum, n)
	}
}
