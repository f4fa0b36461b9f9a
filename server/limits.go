package server

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Rate is how often something may happen: Burst at once, and one more every
// Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// The rate limits of the core itself. A front has its own for its calls.
var (
	// RateLogin bounds tries to log in, right and wrong, per address, and per
	// device where a logged-in device is asked for the password again.
	RateLogin = Rate{Every: 2 * time.Second, Burst: 10}
	// RateGuess bounds wrong tries at one account from one address or device.
	RateGuess = Rate{Every: 4 * time.Minute, Burst: 8}
	// RateGuesses bounds the wrong tries of all strangers at one account: at most
	// 540 in an hour. Twenty addresses that each use up RateGuess leave room in
	// it, so they do not keep the account's owner out.
	RateGuesses = Rate{Every: 10 * time.Second, Burst: 180}
	// RateFamiliar bounds the wrong tries at one account from all addresses from
	// which it has logged in before: at most 40 in an hour. They are apart from
	// those of strangers, so that no number of strangers keeps the owner out.
	RateFamiliar = Rate{Every: 3 * time.Minute, Burst: 20}
	// RateRegister bounds new accounts, per address: at most 1,450 on a day,
	// where registration is open.
	RateRegister = Rate{Every: time.Minute, Burst: 10}
)

// A Who identifies the client that a bucket of [Limits] counts. It has the
// same size whatever it was made from, and can be made only of an address, or
// of a user, device or account that the caller has parsed.
type Who struct {
	sum [sha256.Size]byte
}

// ByAddr is the client at an IP address without a port. Addresses of IPv6 count
// by their /64, which is the least that one subscriber has. Anything that is
// not an address counts as one client.
func ByAddr(addr string) Who {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return whoOf("no address")
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		// 64 is a valid length for each IPv6 address.
		p, _ := a.Prefix(64)
		a = p.Addr()
	}
	return whoOf("address", a.String())
}

// ByUser is a user of a network who has shown a valid token.
func ByUser(network quinta.NetworkName, user quinta.UserID) Who {
	return whoOf("user", string(network), string(user))
}

// ByDevice is a device that has shown a valid token.
func ByDevice(network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) Who {
	return whoOf("device", string(network), string(user), string(device))
}

// ByAccount is whoever tries the account of a well-formed name.
func ByAccount(name string) Who { return whoOf("account", name) }

// And is w where it does something to another: the wrong tries of an address at
// one account, for example.
func (w Who) And(other Who) Who { return whoOf("both", string(w.sum[:]), string(other.sum[:])) }

// Sum is the hash that w is counted under: the same on all nodes and after a
// restart.
func (w Who) Sum() [sha256.Size]byte { return w.sum }

// whoOf hashes the parts, each with its length before it.
func whoOf(parts ...string) Who {
	var b []byte
	for _, p := range parts {
		b = append(b, byte(len(p)>>24), byte(len(p)>>16), byte(len(p)>>8), byte(len(p)))
		b = append(b, p...)
	}
	return Who{sha256.Sum256(b)}
}

// Limits counts how often each client or account does each thing. Its memory
// is bounded: buckets have one size, and each minute those that are full again
// are forgotten. If there are still too many, those nearest to being full are
// forgotten first, so that a client cannot reset its own limit by making up
// names.
type Limits struct {
	on  bool
	now func() time.Time

	mu      sync.Mutex
	swept   time.Time
	buckets map[bucket]time.Time // when the bucket is full again
}

// A bucket is what it counts, one of the program's own few names, and whose.
type bucket struct {
	what string
	who  Who
}

const (
	// maxBuckets is how many buckets there are at most.
	maxBuckets = 20_000
	// forgetEvery is how often the buckets that are full again are forgotten.
	forgetEvery = time.Minute
)

// NewLimits returns further limits, under the core's settings: those of a front
// that counts so many things that they would crowd out the others.
func (c *Core) NewLimits() *Limits { return newLimits(c.RateLimits, c.Now) }

func newLimits(on bool, now func() time.Time) *Limits {
	return &Limits{on: on, now: now, buckets: map[bucket]time.Time{}}
}

// Allow takes n, at most the whole burst, from the bucket of a thing (what) and
// its doer (who). It returns how long to wait before the next try, or zero if the
// thing may be done now. what is a name that the program chose, never one that
// came over the wire.
func (l *Limits) Allow(what string, who Who, r Rate, n int) time.Duration {
	if !l.on || n <= 0 {
		return 0
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := bucket{what, who}
	full, there := l.buckets[key]
	if !there && len(l.buckets) >= maxBuckets || now.Sub(l.swept) >= forgetEvery {
		l.sweep(now)
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(r.Every * time.Duration(min(n, r.Burst)))
	if wait := full.Sub(now) - r.Every*time.Duration(r.Burst); wait > 0 {
		return wait
	}
	l.buckets[key] = full
	return 0
}

// Return gives back n that [Limits.Allow] took, if it turned out that they are
// not to count.
func (l *Limits) Return(what string, who Who, r Rate, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := bucket{what, who}
	if full, ok := l.buckets[key]; ok {
		l.buckets[key] = full.Add(-r.Every * time.Duration(min(n, r.Burst)))
	}
}

// sweep forgets the buckets that are full again. If most are in use and there
// is no room, it also forgets those that are nearest to being full, down to three
// quarters.
func (l *Limits) sweep(now time.Time) {
	l.swept = now
	for k, full := range l.buckets {
		if !full.After(now) {
			delete(l.buckets, k)
		}
	}
	if len(l.buckets) < maxBuckets {
		return
	}
	keys := make([]bucket, 0, len(l.buckets))
	for k := range l.buckets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b bucket) int { return cmp.Compare(l.buckets[b].UnixNano(), l.buckets[a].UnixNano()) })
	for _, k := range keys[maxBuckets/4*3:] {
		delete(l.buckets, k)
	}
}
