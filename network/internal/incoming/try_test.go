package incoming_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

// TestAttackGuesses: someone who tries an account's password at full speed,
// from one address and from twenty, makes its owner wait for no more than two
// seconds at another address, never at a device that is logged in, and gets no
// more than 600 guesses in an hour.
func TestAttackGuesses(t *testing.T) {
	t.Parallel()
	for _, addresses := range []int{1, 20} {
		t.Run(fmt.Sprint(addresses), func(t *testing.T) {
			t.Parallel()
			var clock atomic.Int64 // in milliseconds, read by the server as well
			clock.Store(1_700_000_000_000)
			core := quintatest.Start(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return time.UnixMilli(clock.Load()) })).Core
			if err := core.AddAccount(t.Context(), "alice", "right"); err != nil {
				t.Fatal(err)
			}
			phone := server.ByDevice("twin", "alice@hs1", "PHONE")
			guesses := 0
			for second := range 2 * 3600 {
				if second == 3600 {
					if guesses > 600 {
						t.Errorf("the first hour: %d guesses, want at most 600", guesses)
					}
					guesses = 0
				}
				for a := range addresses {
					wait, err := incoming.Password(t.Context(), core, incoming.Stranger(fmt.Sprintf("192.0.2.%d", a)), "alice", "wrong")
					if wait > 0 {
						continue
					}
					if !errors.Is(err, incoming.ErrPassword) {
						t.Fatal(err)
					}
					guesses++
				}
				if second%60 == 59 {
					for from, by := range map[string]incoming.By{"another address": incoming.Stranger("198.51.100.1"), "a device": incoming.Self(phone)} {
						if wait, err := incoming.Password(t.Context(), core, by, "alice", "right"); wait > 2*time.Second || err != nil {
							t.Fatalf("second %d, the owner from %s: got %v %v", second, from, wait, err)
						}
					}
				}
				clock.Add(1000)
			}
			if guesses > 600 || guesses < 10 {
				t.Errorf("the second hour: %d guesses, want from 10 to 600", guesses)
			}
		})
	}
}

// TestAttackGuessesOfMany: also 1,000 addresses get no more than 600 guesses at
// an account in an hour, and a logged-in device of its owner is not concerned.
func TestAttackGuessesOfMany(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_700_000_000_000)
	core := quintatest.Start(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return time.UnixMilli(clock.Load()) })).Core
	guesses := 0
	for range 360 {
		for a := range 1000 {
			if _, wait := incoming.NewTry(core, incoming.Stranger(fmt.Sprintf("2001:db8:%x::1", a)), "alice"); wait == 0 {
				guesses++
			}
		}
		clock.Add(10_000)
	}
	if guesses > 600 {
		t.Errorf("%d guesses, want at most 600", guesses)
	}
	if _, wait := incoming.NewTry(core, incoming.Self(server.ByDevice("twin", "alice@hs1", "PHONE")), "alice"); wait > 0 {
		t.Errorf("the owner's device waits for %v", wait)
	}
}

// TestAttackGuessesOfDevice: someone who has stolen a device guesses the
// password no faster than a stranger.
func TestAttackGuessesOfDevice(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t, quintatest.RateLimits()).Core
	stolen := incoming.Self(server.ByDevice("twin", "alice@hs1", "PHONE"))
	guesses := 0
	for range 100 {
		if _, wait := incoming.NewTry(core, stolen, "alice"); wait == 0 {
			guesses++
		}
	}
	if guesses != server.RateGuess.Burst {
		t.Errorf("got %d guesses, want %d", guesses, server.RateGuess.Burst)
	}
}

// TestAttackLongNames: 50,000 tries at names of 16 KiB and more, each from an
// address of its own, leave nothing behind, and an address over its limit does
// not reach the account.
func TestAttackLongNames(t *testing.T) {
	core := quintatest.Start(t, quintatest.RateLimits()).Core
	long := strings.Repeat("x", 16<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 50_000 {
		incoming.NewTry(core, incoming.Stranger(fmt.Sprintf("2001:db8:%x::1", i)), account.Name(fmt.Sprint(i, long)))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 5<<20 {
		t.Errorf("the heap grew by %d bytes, want under 5 MiB", grown)
	}
	for i := range 1000 {
		if _, wait := incoming.NewTry(core, incoming.Stranger("192.0.2.1"), account.Name(fmt.Sprint("n", i))); wait > 0 && i < server.RateLogin.Burst {
			t.Fatalf("try %d: got %v", i, wait)
		}
	}
	for range server.RateGuesses.Burst {
		incoming.NewTry(core, incoming.Stranger("192.0.2.1"), "alice")
	}
	if core.Limits.Allow("guesses", server.ByAccount("alice"), server.RateGuesses, server.RateGuesses.Burst) > 0 {
		t.Error("an address over its limit used up the account's bucket")
	}
}
