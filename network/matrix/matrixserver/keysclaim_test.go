package matrixserver_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
)

func TestKeyClaimOrdering(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		for _, id := range []string{"AAAADQ", "AAAAHA", "AAAAAA"} {
			alice.post(upload, object{"one_time_keys": oneTime(id)}).want(200)
		}
		for _, want := range []string{"AAAADQ", "AAAAHA", "AAAAAA", ""} {
			if got := bob.claim(alice); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

func TestFallbackKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.post(upload, object{"one_time_keys": oneTime("A"), "fallback_keys": oneTime("F")}).want(200)
		for _, want := range []string{"A", "F", "F"} {
			if got := bob.claim(alice); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		alice.post(upload, object{"fallback_keys": oneTime("G")}).want(200)
		alice.post(upload, object{"one_time_keys": oneTime("A", "B")}).want(200) // A was claimed: it does not come back
		for _, want := range []string{"B", "G"} {
			if got := bob.claim(alice); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

func TestClaimRefuses(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	const claim = "/_matrix/client/v3/keys/claim"
	for _, bad := range []any{object{}, object{"one_time_keys": []any{}}, object{"one_time_keys": object{alice.ID: []any{}}},
		object{"one_time_keys": object{alice.ID: object{"D": 1}}}, object{"one_time_keys": object{}, "timeout": "x"}} {
		alice.post(claim, bad).fails(400, "M_BAD_JSON")
	}
	alice.post(claim, "{").fails(400, "M_NOT_JSON")
	many := object{}
	for i := range 5001 {
		many[fmt.Sprint(i)] = "a"
	}
	alice.post(claim, object{"one_time_keys": object{alice.ID: many}}).fails(400, "M_TOO_LARGE")
	s.nobody().post(claim, object{"one_time_keys": object{}}).fails(401, "M_MISSING_TOKEN")
	r := alice.post(claim, object{"one_time_keys": object{"@x:elsewhere": object{"D": "a"}, "@nobody:hs1": object{"D": "a"}, "nonsense": object{"D": "a"}}}).want(200)
	same(t, "answer", r.Body, object{"one_time_keys": object{}, "failures": object{"elsewhere": object{}}})
}

func TestClaimIsRateLimited(t *testing.T) {
	s := newStage(t, quintatest.RateLimits())
	alice := s.register("alice")
	many := object{}
	for i := range 2000 {
		many[fmt.Sprint(i)] = "a"
	}
	var last *reply
	for range 5 {
		if last = alice.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: many}}); last.Status != 200 {
			break
		}
	}
	last.fails(429, "M_LIMIT_EXCEEDED")
	if last.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}

// TestAttackDrain: a user who claims a device's keys over and over takes five
// one-time keys, and one more a minute. They get the fallback key after that,
// and others still get one-time keys.
func TestAttackDrain(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64 // in milliseconds, read by the server as well
	clock.Store(time.Now().UnixMilli())
	s := newStage(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return time.UnixMilli(clock.Load()) }))
	alice, bob, mallory := s.register("alice"), s.register("bob"), s.register("mallory")
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("A%02d", i))
	}
	alice.post(upload, object{"one_time_keys": oneTime(ids...), "fallback_keys": oneTime("F")}).want(200)
	drain := func(n int) (taken int) {
		for range n {
			switch got := mallory.claim(alice); {
			case got == "":
				t.Fatal("got no key at all")
			case got != "F":
				taken++
			}
		}
		return taken
	}
	if got := drain(60); got != 5 {
		t.Errorf("got %d one-time keys at once, want 5", got)
	}
	clock.Add((2 * time.Minute).Milliseconds())
	if got := drain(60); got != 2 {
		t.Errorf("got %d one-time keys after two minutes, want 2", got)
	}
	for range 5 {
		if got := bob.claim(alice); !strings.HasPrefix(got, "A") {
			t.Errorf("someone else: got %q, want a one-time key", got)
		}
	}
}

func TestClaimOfManyDevices(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		want := 0
		q := object{}
		for i := range 20 {
			d := alice.login(fmt.Sprintf("D%02d", i))
			q[d.Device] = "signed_curve25519"
			if i%4 == 0 {
				continue
			}
			want++
			d.post(upload, object{"one_time_keys": oneTime("K")}).want(200)
		}
		r := alice.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: q}}).want(200)
		got, _ := r.at("one_time_keys", alice.ID).(object)
		if len(got) != want {
			t.Errorf("got %d keys, want %d", len(got), want)
		}
		r = alice.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: q}}).want(200)
		same(t, "second claim", r.at("one_time_keys"), object{})
	})
}

// 64 claimers over HTTP on one device, while uploads repeat: no key twice.
func TestParallelClaims(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		const claimers, each = 64, 5
		for i := range claimers * each / 40 {
			var ids []string
			for j := range 40 {
				ids = append(ids, fmt.Sprintf("%04d", i*40+j))
			}
			alice.post(upload, object{"one_time_keys": oneTime(ids...)}).want(200)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		for range claimers {
			wg.Go(func() {
				for range each {
					id := bob.claim(alice)
					mu.Lock()
					seen[id]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != claimers*each || seen[""] != 0 {
			t.Errorf("got %d different keys, want %d", len(seen), claimers*each)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("key %q was given out %d times", id, n)
			}
		}
	})
}
