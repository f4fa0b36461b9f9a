package server_test

import (
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server"
)

// limited opens a core with rate limits and a clock of its own, in seconds.
func limited(t *testing.T) (*server.Limits, *atomic.Int64) {
	t.Helper()
	now := new(atomic.Int64)
	now.Store(1_700_000_000)
	cfg := config(t)
	cfg.RateLimits = true
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.Limits, now
}

// TestLimitsByNet: 1,000 addresses of one /64 count as one client; another /64
// and the IPv4 address in its IPv6 form count as what they are.
func TestLimitsByNet(t *testing.T) {
	t.Parallel()
	l, _ := limited(t)
	r := server.Rate{Every: time.Minute, Burst: 10}
	admitted := 0
	for i := range 1000 {
		if l.Allow("x", server.ByAddr("2001:db8:0:1::"+strconv.FormatInt(int64(i+1), 16)), r, 1) == 0 {
			admitted++
		}
	}
	if admitted != r.Burst {
		t.Errorf("got %d tries of one /64 admitted, want %d", admitted, r.Burst)
	}
	if l.Allow("x", server.ByAddr("2001:db8:0:2::1"), r, 1) > 0 {
		t.Error("another /64 is limited")
	}
	for a, b := range map[string]string{"::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::2%eth1", "no address": ""} {
		if server.ByAddr(a) != server.ByAddr(b) {
			t.Errorf("%q and %q count as two", a, b)
		}
	}
	if server.ByAddr("192.0.2.1") == server.ByAddr("192.0.2.2") || server.ByAddr("192.0.2.1") == server.ByAccount("192.0.2.1") {
		t.Error("two clients count as one")
	}
}

// TestLimitsForgetByTime: a minute after they are full again, buckets are
// forgotten though there is room for more.
func TestLimitsForgetByTime(t *testing.T) {
	t.Parallel()
	l, now := limited(t)
	r := server.Rate{Every: time.Second, Burst: 3}
	for i := range 1000 {
		l.Allow("x", server.ByAccount(strconv.Itoa(i)), r, 1)
	}
	now.Add(61)
	l.Allow("x", server.ByAccount("alice"), r, 1)
	if got := l.Len(); got != 1 {
		t.Errorf("got %d buckets, want that of the last try alone", got)
	}
}

// TestLimitsReturn: what is returned can be taken again, and nothing more.
func TestLimitsReturn(t *testing.T) {
	t.Parallel()
	l, _ := limited(t)
	r, who := server.Rate{Every: time.Minute, Burst: 2}, server.ByAccount("alice")
	for range 50 {
		if wait := l.Allow("x", who, r, 1); wait > 0 {
			t.Fatalf("got %v, want what was returned", wait)
		}
		l.Return("x", who, r, 1)
	}
	l.Return("x", who, r, 2)
	for i, want := range []time.Duration{0, 0, time.Minute} {
		if got := l.Allow("x", who, r, 1); got != want {
			t.Errorf("try %d: got %v, want %v", i, got, want)
		}
	}
}

// TestLimitsKeysHaveOneSize: names of 64 KiB are not kept.
func TestLimitsKeysHaveOneSize(t *testing.T) {
	l, _ := limited(t)
	long := strings.Repeat("x", 64<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 5000 {
		l.Allow("x", server.ByAccount(strconv.Itoa(i)+long), server.RateLogin, 1)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 5<<20 {
		t.Errorf("the heap grew by %d bytes for 5,000 names, want under 5 MiB", grown)
	}
	if got := l.Len(); got != 5000 {
		t.Errorf("got %d buckets, want 5,000", got)
	}
}
