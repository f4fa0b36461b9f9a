package sim

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/e2ee"
)

// errCrash is the error of a store whose program died.
var errCrash = errors.New("sim: the program died")

// A store is what one program keeps: the state of its machine, and what its
// user saw. A transaction is whole or not at all.
type store struct {
	values map[string][]byte
	keys   []string // sorted
	seen   []e2ee.Event
	// fuse is how many writes the program still lives for; 0: as long as it
	// wants. A commit is a write too.
	fuse int
}

func newStore() *store { return &store{values: map[string][]byte{}} }

// clone returns a copy, as of a disk.
func (s *store) clone() *store {
	return &store{values: maps.Clone(s.values), keys: slices.Clone(s.keys), seen: slices.Clone(s.seen)}
}

// burn counts a write, and reports whether the program lives.
func (s *store) burn() bool {
	if s.fuse == 0 {
		return true
	}
	s.fuse--
	return s.fuse > 0
}

// update runs f in one transaction and keeps the events with it. A program
// that dies before the commit has done nothing, one that dies after it has
// done all; it gets errCrash either way.
func (s *store) update(f func(tx e2ee.Tx) ([]e2ee.Event, error)) (committed bool, err error) {
	t := &storeTx{s: s, changed: map[string][]byte{}}
	events, err := f(t)
	if t.dead {
		return false, errCrash
	}
	if err != nil {
		return false, err
	}
	t.commit()
	s.seen = append(s.seen, events...)
	if len(t.changed)+len(events) > 0 && !s.burn() {
		return true, errCrash
	}
	return true, nil
}

// view runs f and keeps nothing of it.
func (s *store) view(f func(tx e2ee.Tx) error) error {
	c := &store{values: s.values, keys: s.keys}
	return f(&storeTx{s: c, changed: map[string][]byte{}})
}

// A storeTx is a transaction; nothing is changed before the commit.
type storeTx struct {
	s       *store
	changed map[string][]byte // nil: deleted
	dead    bool
}

var _ e2ee.Tx = (*storeTx)(nil)

func (t *storeTx) Get(key string) ([]byte, error) {
	if t.dead {
		return nil, errCrash
	}
	if v, ok := t.changed[key]; ok {
		return v, nil
	}
	return t.s.values[key], nil
}

func (t *storeTx) Put(key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return t.write(key, slices.Clone(value))
}

func (t *storeTx) Delete(key string) error { return t.write(key, nil) }

func (t *storeTx) write(key string, value []byte) error {
	if t.dead = t.dead || !t.s.burn(); t.dead {
		return errCrash
	}
	t.changed[key] = value
	return nil
}

func (t *storeTx) All(prefix string) iter.Seq2[e2ee.Entry, error] {
	return func(yield func(e2ee.Entry, error) bool) {
		if t.dead {
			yield(e2ee.Entry{}, errCrash)
			return
		}
		i, _ := slices.BinarySearch(t.s.keys, prefix)
		var keys []string
		for _, k := range t.s.keys[i:] {
			if !strings.HasPrefix(k, prefix) {
				break
			}
			keys = append(keys, k)
		}
		for k := range t.changed {
			if _, old := t.s.values[k]; !old && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			v, err := t.Get(k)
			if v != nil && !yield(e2ee.Entry{Key: k, Value: v}, err) {
				return
			}
		}
	}
}

func (t *storeTx) commit() {
	for k, v := range t.changed {
		_, old := t.s.values[k]
		i, _ := slices.BinarySearch(t.s.keys, k)
		switch {
		case v == nil && old:
			delete(t.s.values, k)
			t.s.keys = slices.Delete(t.s.keys, i, i+1)
		case v != nil:
			if t.s.values[k] = v; !old {
				t.s.keys = slices.Insert(t.s.keys, i, k)
			}
		}
	}
}
