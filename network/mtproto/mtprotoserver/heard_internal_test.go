package mtprotoserver

import (
	"testing"
	"time"
)

// TestHeardIsBounded: a key that calls without end is remembered by its last
// calls, what is older is refused, and a silent key is forgotten.
func TestHeardIsBounded(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000_000, 0)
	h := newHeard(start)
	id := func(n int64) int64 { return start.Unix()<<32 + 4*n }
	const calls = 3 * maxHeard
	for n := range int64(calls) {
		if !h.first(1, heardCall{5, id(n)}, start) {
			t.Fatalf("call %d was heard before", n)
		}
	}
	if n := len(h.of[1].ids); n > maxHeard {
		t.Errorf("%d ids are remembered, want at most %d", n, maxHeard)
	}
	if !h.old(1, id(0)) || h.first(1, heardCall{5, id(0)}, start) {
		t.Error("a call that was forgotten is taken again")
	}
	if h.old(1, id(calls-1)) || h.first(1, heardCall{5, id(calls - 1)}, start) {
		t.Error("the last call is taken again")
	}
	if !h.first(1, heardCall{6, id(calls - 1)}, start) {
		t.Error("the same id in another session is taken for a repetition")
	}
	if h.old(2, id(0)) || !h.old(2, id(-3e9)) {
		t.Error("another key: only what is older than the start is too old")
	}
	h.first(2, heardCall{5, id(0)}, start.Add(2*heardFor))
	if len(h.of) != 1 {
		t.Errorf("%d keys are remembered, want the one that calls", len(h.of))
	}
}

// TestBriefIsBounded: what is kept for some time, such as key exchanges that are
// begun and left, does not grow without end; the oldest makes way.
func TestBriefIsBounded(t *testing.T) {
	t.Parallel()
	const most = maxBegun
	b := newBrief[int, int](time.Minute, most)
	now := time.Unix(1_000_000, 0)
	has := func(k int, now time.Time) bool { _, ok := b.get(k, now); return ok }
	for n := range most + 5 {
		b.put(n, n, now)
	}
	if len(b.of) != most || len(b.order) != most {
		t.Errorf("%d are kept, %d in order, want %d", len(b.of), len(b.order), most)
	}
	if has(0, now) || !has(most, now) || has(most, now.Add(time.Minute)) {
		t.Error("want the oldest to be gone and the newest to be there for a minute")
	}
	if v, ok := b.take(most, now); !ok || v != most || has(most, now) {
		t.Errorf("taken: got %d, %v", v, ok)
	}
	for range 3 * most {
		b.put(7, 7, now)
	}
	if len(b.order) > most || !has(7, now) {
		t.Errorf("the same again and again: %d in order, want at most %d", len(b.order), most)
	}
	b.put(8, 8, now.Add(time.Hour))
	if len(b.of) != 1 || len(b.order) != 1 {
		t.Errorf("after an hour: %d are kept, %d in order, want 1", len(b.of), len(b.order))
	}
}
