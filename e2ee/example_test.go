package e2ee_test

import (
	"context"
	"fmt"

	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// A machine keeps its own state in one record and its requests in a queue.
// Each call reads them, does its work and writes back what changed; the store
// commits all of it, or nothing.
func Example() {
	type state struct {
		Seq  e2ee.Seq `json:"seq"`
		Sent int      `json:"sent"`
	}
	type request struct {
		Body string `json:"body"`
	}
	// call is one call of the machine.
	call := func(tx e2ee.Tx, f func(s *state, due *e2ee.Queue[request]) error) error {
		s, _, err := e2ee.Load[state](tx, "meta")
		if err != nil {
			return err
		}
		if err := f(&s, e2ee.NewQueue[request](tx, "req/", &s.Seq)); err != nil {
			return err
		}
		return e2ee.Store(tx, "meta", &s)
	}

	store := memory.New()
	send := func(tx e2ee.Tx) error {
		return call(tx, func(_ *state, due *e2ee.Queue[request]) error {
			_, err := due.Put(request{Body: "hello"})
			return err
		})
	}
	answered := func(tx e2ee.Tx) error {
		return call(tx, func(s *state, due *e2ee.Queue[request]) error {
			for r, err := range due.All() {
				if err != nil {
					return err
				}
				s.Sent++
				fmt.Printf("%s: %s was answered, %d in all\n", r.Name, r.Value.Body, s.Sent)
				if err := due.Done(r.Name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, f := range []func(e2ee.Tx) error{send, send, answered} {
		if err := store.Update(context.Background(), f); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 0000000000000001: hello was answered, 1 in all
	// 0000000000000002: hello was answered, 2 in all
}
