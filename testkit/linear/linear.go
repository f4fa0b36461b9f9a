// Package linear checks that what happens in parallel can be told as one
// story: every operation takes effect at one moment between its call and its
// return. It records a history and gives it to porcupine.
package linear

import (
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout bounds the search for a story.
const checkTimeout = 30 * time.Second

// Run lets clients run at once, each with a number from 0. A client calls do
// for every operation with what goes in and a function that carries it out.
// Run fails the test if no order of all operations fits the model.
func Run(t *testing.T, model porcupine.Model, clients int, client func(n int, do func(in any, op func() any))) {
	t.Helper()
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			client(n, func(in any, op func() any) {
				call := time.Since(start).Nanoseconds()
				out := op()
				back := time.Since(start).Nanoseconds()
				mu.Lock()
				defer mu.Unlock()
				history = append(history, porcupine.Operation{ClientId: n, Input: in, Call: call, Output: out, Return: back})
			})
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	switch porcupine.CheckOperationsTimeout(model, history, checkTimeout) {
	case porcupine.Ok:
	case porcupine.Illegal:
		t.Errorf("the history of %d operations cannot be put into one order:", len(history))
		for _, op := range history {
			t.Logf("%d: %s [%d..%d]", op.ClientId, model.DescribeOperation(op.Input, op.Output), op.Call, op.Return)
		}
	default:
		t.Errorf("no verdict on %d operations in %v", len(history), checkTimeout)
	}
}
