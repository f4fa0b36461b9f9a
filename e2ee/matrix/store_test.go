package matrix_test

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/e2ee"
)

// A memory is the private state of a machine.
type memory struct {
	values map[string][]byte
	keys   []string // sorted
}

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

// clone returns a copy, as of a cloned disk.
func (m *memory) clone() *memory {
	return &memory{values: maps.Clone(m.values), keys: slices.Clone(m.keys)}
}

// A memoryTx is a transaction over a memory; nothing is changed before commit.
type memoryTx struct {
	m       *memory
	changed map[string][]byte // nil: deleted
}

var _ e2ee.Tx = (*memoryTx)(nil)

func (t *memoryTx) Get(key string) ([]byte, error) {
	if v, ok := t.changed[key]; ok {
		return v, nil
	}
	return t.m.values[key], nil
}

func (t *memoryTx) Put(key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	t.changed[key] = slices.Clone(value)
	return nil
}

func (t *memoryTx) Delete(key string) error { t.changed[key] = nil; return nil }

func (t *memoryTx) All(prefix string) iter.Seq2[e2ee.Entry, error] {
	return func(yield func(e2ee.Entry, error) bool) {
		i, _ := slices.BinarySearch(t.m.keys, prefix)
		var keys []string
		for _, k := range t.m.keys[i:] {
			if !strings.HasPrefix(k, prefix) {
				break
			}
			keys = append(keys, k)
		}
		for k := range t.changed {
			if _, old := t.m.values[k]; !old && strings.HasPrefix(k, prefix) {
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

func (t *memoryTx) commit() {
	for k, v := range t.changed {
		_, old := t.m.values[k]
		i, _ := slices.BinarySearch(t.m.keys, k)
		switch {
		case v == nil && old:
			delete(t.m.values, k)
			t.m.keys = slices.Delete(t.m.keys, i, i+1)
		case v != nil:
			if t.m.values[k] = v; !old {
				t.m.keys = slices.Insert(t.m.keys, i, k)
			}
		}
	}
}

// update runs f in one transaction.
func (m *memory) update(f func(tx e2ee.Tx) error) error {
	t := &memoryTx{m: m, changed: map[string][]byte{}}
	if err := f(t); err != nil {
		return err
	}
	t.commit()
	return nil
}
