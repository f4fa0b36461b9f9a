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

// TestBegunIsBounded: key exchanges over HTTP that are begun and left do not
// grow without end; the oldest make way, and each ends in time.
func TestBegunIsBounded(t *testing.T) {
	t.Parallel()
	var p polls
	now := time.Unix(1_000_000, 0)
	name := func(n int) nonces { return nonces{nonce: [16]byte{byte(n), byte(n >> 8), byte(n >> 16)}} }
	for n := range maxBegun + 5 {
		p.begin(name(n), &conn{}, now)
	}
	if len(p.begun) != maxBegun || len(p.order) != maxBegun {
		t.Errorf("%d exchanges are kept, %d in order, want %d", len(p.begun), len(p.order), maxBegun)
	}
	if p.take(name(0), now) != nil || p.take(name(maxBegun), now) == nil || p.take(name(maxBegun), now) != nil {
		t.Error("want the oldest to be gone, the newest to be there, and each to be taken once")
	}
	later := now.Add(beginWithin + time.Second)
	if p.take(name(maxBegun-1), later) != nil {
		t.Error("an exchange that was left is carried on too late")
	}
	p.begin(name(maxBegun+9), &conn{}, later)
	if len(p.begun) != 1 || len(p.order) != 1 {
		t.Errorf("%d exchanges are kept, %d in order, want the new one", len(p.begun), len(p.order))
	}
}

// TestFirstSaltsAreBounded: the same of the salts of keys that were made.
func TestFirstSaltsAreBounded(t *testing.T) {
	t.Parallel()
	var f firstSalts
	now := time.Unix(1_000_000, 0)
	for n := range int64(maxFirst + 5) {
		f.put(n, [32]byte{1}, [16]byte{}, now)
	}
	if len(f.of) != maxFirst || f.holds(0, 1, now) || !f.holds(maxFirst, 1, now) || f.holds(maxFirst, 2, now) {
		t.Errorf("%d salts are kept, want the last %d", len(f.of), maxFirst)
	}
	if f.holds(maxFirst, 1, now.Add(saltLife)) {
		t.Error("a first salt holds for too long")
	}
}
