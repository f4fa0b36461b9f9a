package mtprotoserver

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxHeard bounds the ids of calls that are remembered of one key. When there
	// are more, the lower half is forgotten, and what is not above it is refused
	// as too old.
	maxHeard = 4096
	// heardFor is how long a key is remembered after its last call: no id of it is
	// taken any later.
	heardFor = maxAhead + maxBehind
	// beforeStart is how much older than the server's start a call may be: clients
	// count in seconds.
	beforeStart = time.Second
)

// heard remembers which calls were worked on, so that a packet that someone
// recorded is not worked on again on another connection. Of what was heard
// before the server's start nothing is known, so it is refused as too old.
type heard struct {
	mu    sync.Mutex
	start time.Time
	of    map[int64]*heardKey
	swept time.Time
}

type heardKey struct {
	ids   map[heardCall]struct{}
	floor int64
	last  time.Time
}

// A heardCall is one call: an id is unique within its session.
type heardCall struct{ session, id int64 }

func newHeard(now time.Time) *heard {
	return &heard{start: now.Add(-beforeStart), of: map[int64]*heardKey{}, swept: now}
}

// old reports whether an id of a key is too old to tell whether it was heard.
func (h *heard) old(key, id int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.of[key]
	return id < h.start.Unix()<<32 || k != nil && id <= k.floor
}

// first notes a call and reports whether it is the first time.
func (h *heard) first(key int64, call heardCall, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sweep(now)
	k := h.of[key]
	if k == nil {
		k = &heardKey{ids: map[heardCall]struct{}{}}
		h.of[key] = k
	}
	k.last = now
	if _, again := k.ids[call]; again || call.id <= k.floor {
		return false
	}
	k.ids[call] = struct{}{}
	if len(k.ids) > maxHeard {
		k.forget()
	}
	return true
}

// forget forgets the lower half of the ids.
func (k *heardKey) forget() {
	all := make([]int64, 0, len(k.ids))
	for c := range k.ids {
		all = append(all, c.id)
	}
	slices.Sort(all)
	k.floor = all[len(all)/2-1]
	for c := range k.ids {
		if c.id <= k.floor {
			delete(k.ids, c)
		}
	}
}

// sweep forgets keys whose calls would all be too old by now.
func (h *heard) sweep(now time.Time) {
	if now.Sub(h.swept) < heardFor {
		return
	}
	h.swept = now
	for key, k := range h.of {
		if now.Sub(k.last) > heardFor {
			delete(h.of, key)
		}
	}
}
