// Package crowd lets many clients work at one server at the same moment, so
// that the race detector and the test's own invariants see what only happens
// between them.
//
// Run starts one goroutine for each client and lets all of them go at each
// beat: they meet as closely as the machine allows, and rest until the next
// beat, so that other tests have the processor in between.
package crowd

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Clients is how many clients a race test has.
const Clients = 64

// Beat is the time from one moment at which all clients begin a turn to the
// next one.
const Beat = 3 * time.Second

// Run lets each of n clients take turns until Length has passed and each took
// at least two: turn is called by many goroutines at once, never twice at once
// for the same client. A client whose turn returns an error takes no further
// one, and the test fails. Run returns how many turns there were.
func Run(t testing.TB, n int, turn func(ctx context.Context, client, round int) error) int {
	t.Helper()
	start := time.Now()
	turns := make([]int, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for round := 0; round < 2 || time.Since(start) < Length; round++ {
				if errs[i] = turn(t.Context(), i, round); errs[i] != nil {
					return
				}
				turns[i]++
				// The next beat is the same for all, also for those that are late.
				rest := Beat - time.Since(start)%Beat
				select {
				case <-time.After(rest):
				case <-t.Context().Done():
					errs[i] = t.Context().Err()
					return
				}
			}
		})
	}
	wg.Wait()
	all := 0
	for i, err := range errs {
		if err != nil {
			t.Error(fmt.Errorf("client %d, turn %d: %w", i, turns[i], err))
		}
		all += turns[i]
	}
	return all
}

// Each calls fn for each of n clients at once and ends the test if one of the
// calls fails.
func Each(t testing.TB, n int, fn func(client int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
}
