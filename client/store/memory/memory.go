// Package memory is a client store that keeps everything in memory and
// forgets it at the end: for tests, simulations and devices that are used
// once.
package memory

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var _ client.Store = (*Store)(nil)

// A Store is a store in memory. The zero Store is not ready; use New.
type Store struct {
	mu     sync.RWMutex
	m      map[string][]byte
	closed bool
}

// New returns an empty store.
func New() *Store { return &Store{m: map[string][]byte{}} }

// Snapshot returns a copy of the store as it is, such as to simulate a crash
// or a restored backup.
func (s *Store) Snapshot() *Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Store{m: maps.Clone(s.m)}
}

var errClosed = quinta.E(quinta.KindUnavailable, "store", "the store is closed")

// Update implements client.Store.
func (s *Store) Update(ctx context.Context, fn func(e2ee.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	t := &tx{base: s.m, changed: map[string][]byte{}, write: true}
	defer func() { t.done = true }()
	if err := fn(t); err != nil {
		return err
	}
	for k, v := range t.changed {
		if v == nil {
			delete(s.m, k)
		} else {
			s.m[k] = v
		}
	}
	return nil
}

// View implements client.Store.
func (s *Store) View(ctx context.Context, fn func(e2ee.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	t := &tx{base: s.m}
	defer func() { t.done = true }()
	return fn(t)
}

// Close implements client.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// A tx is one transaction: the map, and what changed on top of it; nil stands
// for a removed key.
type tx struct {
	base    map[string][]byte
	changed map[string][]byte
	write   bool
	done    bool
}

var (
	errDone     = errors.New("memory: transaction used after its end")
	errReadOnly = errors.New("memory: write in a view")
)

func (t *tx) Get(key string) ([]byte, error) {
	if t.done {
		return nil, errDone
	}
	if v, ok := t.changed[key]; ok {
		return v, nil
	}
	return t.base[key], nil
}

func (t *tx) Put(key string, value []byte) error {
	switch {
	case t.done:
		return errDone
	case !t.write:
		return errReadOnly
	}
	t.changed[key] = append(make([]byte, 0, len(value)), value...)
	return nil
}

func (t *tx) Delete(key string) error {
	switch {
	case t.done:
		return errDone
	case !t.write:
		return errReadOnly
	}
	t.changed[key] = nil
	return nil
}

func (t *tx) All(prefix string) iter.Seq2[e2ee.Entry, error] {
	return func(yield func(e2ee.Entry, error) bool) {
		if t.done {
			yield(e2ee.Entry{}, errDone)
			return
		}
		var keys []string
		for k := range t.base {
			if _, ok := t.changed[k]; !ok && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
		for k, v := range t.changed {
			if v != nil && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			v, err := t.Get(k)
			if !yield(e2ee.Entry{Key: k, Value: v}, err) || err != nil {
				return
			}
		}
	}
}
