package server

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Rate is how often something may happen: Burst at once, and one more every
// Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// The rates of the core's own doors. A front has its own for what it offers.
var (
	// RateLogin bounds tries to log in, per address and per account.
	RateLogin = Rate{Every: 2 * time.Second, Burst: 10}
	// RateRegister bounds new accounts, per address.
	RateRegister = Rate{Every: 10 * time.Second, Burst: 10}
)

// Limits counts how often each client or account does each thing. Its memory
// is bounded: a bucket that has not been used for a while is full again, and is
// forgotten. If there are still too many, the least used ones are forgotten
// first, so that a client cannot reset its own limit by making up names.
type Limits struct {
	on  bool
	now func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	lim  *rate.Limiter
	seen time.Time
	idle time.Duration
}

// maxBuckets is when a sweep looks for buckets that can be forgotten.
const maxBuckets = 20_000

func newLimits(on bool, now func() time.Time) *Limits {
	return &Limits{on: on, now: now, buckets: map[string]*bucket{}}
}

// Allow takes n from the bucket of a thing (what) and its doer (who). It returns how long to wait
// before the next try, or zero if the thing may be done now.
func (l *Limits) Allow(what, who string, r Rate, n int) time.Duration {
	if !l.on || n <= 0 {
		return 0
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := what + " " + who
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		b = &bucket{lim: rate.NewLimiter(rate.Every(r.Every), r.Burst), idle: r.Every * time.Duration(r.Burst)}
		l.buckets[key] = b
	}
	b.seen = now
	res := b.lim.ReserveN(now, min(n, r.Burst))
	if !res.OK() {
		return r.Every
	}
	if d := res.DelayFrom(now); d > 0 {
		res.CancelAt(now)
		return d
	}
	return 0
}

// sweep forgets the buckets that are full again. If most are in use, it also
// forgets those that are nearest to being full, down to three quarters.
func (l *Limits) sweep(now time.Time) {
	for k, b := range l.buckets {
		if now.Sub(b.seen) > b.idle {
			delete(l.buckets, k)
		}
	}
	const keep = maxBuckets / 4 * 3
	if len(l.buckets) <= keep {
		return
	}
	type use struct {
		key string
		// wait is for how long the bucket fills.
		wait time.Duration
	}
	uses := make([]use, 0, len(l.buckets))
	for k, b := range l.buckets {
		missing := float64(b.lim.Burst()) - b.lim.TokensAt(now)
		uses = append(uses, use{k, time.Duration(missing / float64(b.lim.Limit()) * float64(time.Second))})
	}
	slices.SortFunc(uses, func(a, b use) int { return cmp.Compare(b.wait, a.wait) })
	for _, u := range uses[keep:] {
		delete(l.buckets, u.key)
	}
}
