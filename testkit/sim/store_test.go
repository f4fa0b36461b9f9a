package sim

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// TestStoreDies has a program die at each of its writes: a transaction is
// there whole or not at all, with the events that it brought.
func TestStoreDies(t *testing.T) {
	t.Parallel()
	const each = 3
	for fuse := 1; fuse <= 2*(each+1)+1; fuse++ {
		s := newStore()
		s.fuse = fuse
		done := 0
		for tx := range 2 {
			_, err := s.update(func(t e2ee.Tx) ([]e2ee.Event, error) {
				for i := range each {
					if err := t.Put(fmt.Sprint(tx, i), []byte("x")); err != nil {
						return nil, nil // a machine that takes no notice changes nothing
					}
				}
				return []e2ee.Event{{Kind: e2ee.EventSent}}, nil
			})
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if err != nil {
				break
			}
			done++
		}
		// Of each transaction three writes, and the commit is the fourth.
		want := min(fuse/(each+1), 2)
		if got := len(s.values); got != want*each || len(s.seen) != want || len(s.keys) != got {
			t.Errorf("dying at write %d: got %d values and %d events, want %d transactions", fuse, got, len(s.seen), want)
		}
	}
}

// TestStoreReads holds reading against what was written, in a transaction and
// after it, and that a copy stays as it was.
func TestStoreReads(t *testing.T) {
	t.Parallel()
	s := newStore()
	all := func(tx e2ee.Tx, prefix string) map[string]string {
		out := map[string]string{}
		for e, err := range tx.All(prefix) {
			if err != nil {
				t.Fatal(err)
			}
			out[e.Key] = string(e.Value)
		}
		return out
	}
	check := func(tx e2ee.Tx, want map[string]string) {
		t.Helper()
		if got := all(tx, "a"); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	write := func(f func(tx e2ee.Tx) error) {
		t.Helper()
		if _, err := s.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, f(tx) }); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx e2ee.Tx) error {
		err := errors.Join(tx.Put("a1", []byte("1")), tx.Put("a2", nil), tx.Put("b", []byte("b")))
		check(tx, map[string]string{"a1": "1", "a2": ""})
		return err
	})
	copied := s.clone()
	write(func(tx e2ee.Tx) error {
		err := errors.Join(tx.Delete("a1"), tx.Put("a3", []byte("3")))
		check(tx, map[string]string{"a2": "", "a3": "3"})
		return err
	})
	if err := s.view(func(tx e2ee.Tx) error { check(tx, map[string]string{"a2": "", "a3": "3"}); return tx.Put("a9", nil) }); err != nil {
		t.Fatal(err)
	}
	s = copied
	write(func(tx e2ee.Tx) error { check(tx, map[string]string{"a1": "1", "a2": ""}); return nil })
}
