package mtprotoserver

import (
	"sync"
	"time"
)

// A brief keeps values for some time in memory, and at most so many: the oldest
// makes way for one more. The zero value keeps nothing; see newBrief.
type brief[K comparable, V any] struct {
	life time.Duration
	most int

	mu    sync.Mutex
	of    map[K]briefValue[V]
	order []briefKey[K] // oldest first, also of values that were taken since
	n     uint64
}

type briefValue[V any] struct {
	v     V
	until time.Time
	n     uint64
}

type briefKey[K comparable] struct {
	k K
	n uint64
}

func newBrief[K comparable, V any](life time.Duration, most int) *brief[K, V] {
	return &brief[K, V]{life: life, most: most, of: map[K]briefValue[V]{}}
}

// put keeps a value, in the place of the one of the same key.
func (b *brief[K, V]) put(k K, v V, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.order) > 0 {
		first := b.order[0]
		old, there := b.of[first.k]
		if there && old.n == first.n && len(b.order) < b.most && now.Before(old.until) {
			break
		}
		if there && old.n == first.n {
			delete(b.of, first.k)
		}
		b.order = b.order[1:]
	}
	b.n++
	b.of[k] = briefValue[V]{v, now.Add(b.life), b.n}
	b.order = append(b.order, briefKey[K]{k, b.n})
}

// get returns a value that is not too old.
func (b *brief[K, V]) get(k K, now time.Time) (v V, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept, ok := b.of[k]
	if !ok || !now.Before(kept.until) {
		return v, false
	}
	return kept.v, true
}

// take returns a value that is not too old and forgets it.
func (b *brief[K, V]) take(k K, now time.Time) (v V, ok bool) {
	v, ok = b.get(k, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.of, k)
	return v, ok
}
