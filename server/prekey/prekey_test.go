package prekey_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

const (
	alice = quinta.UserID("@alice:hs1")
	bob   = quinta.UserID("@bob:hs1")
	alg   = "signed_curve25519"
)

// A ring is a store with a clock of its own.
type ring struct {
	*db.DB
	t     *testing.T
	clock atomic.Int64
}

func each(t *testing.T, fn func(r *ring)) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := &ring{t: t}
			r.clock.Store(1_700_000_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return time.UnixMilli(r.clock.Load()) }
			r.DB = stores.Open(t, cfg, prekey.Schema)
			fn(r)
		})
	}
}

func (r *ring) update(fn func(tx *db.Tx) error) {
	r.t.Helper()
	if err := r.Update(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// keys turns "AAA=body BBB=body" into keys.
func keys(text string) []prekey.Key {
	var ks []prekey.Key
	for _, f := range strings.Fields(text) {
		id, body, _ := strings.Cut(f, "=")
		ks = append(ks, prekey.Key{Algorithm: alg, ID: id, Body: []byte(body)})
	}
	return ks
}

func (r *ring) put(d quinta.DeviceID, text string) error {
	return r.Update(r.t.Context(), func(tx *db.Tx) error { return prekey.Put(tx, network, bob, d, keys(text)) })
}

func (r *ring) putFallback(d quinta.DeviceID, text string) {
	r.t.Helper()
	r.update(func(tx *db.Tx) error { return prekey.PutFallback(tx, network, bob, d, keys(text)) })
}

// claim claims one key and returns "id=body", with "!" for a fallback key.
func (r *ring) claim(d quinta.DeviceID) string {
	r.t.Helper()
	var got []prekey.Claimed
	r.update(func(tx *db.Tx) (err error) {
		got, err = prekey.Claim(tx, network, []prekey.Want{{bob, d, alg}})
		return err
	})
	return show(got)
}

func show(got []prekey.Claimed) string {
	var out []string
	for _, k := range got {
		s := k.ID + "=" + string(k.Body)
		if k.Fallback {
			s += "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (r *ring) wantClaim(d quinta.DeviceID, want string) {
	r.t.Helper()
	if got := r.claim(d); got != want {
		r.t.Errorf("claim from %s: got %q, want %q", d, got, want)
	}
}

// wantLeft checks the counts and the unused fallback keys.
func (r *ring) wantLeft(d quinta.DeviceID, count int64, unused string) {
	r.t.Helper()
	r.update(func(tx *db.Tx) error {
		c, err := prekey.Counts(tx, network, bob, d)
		if err != nil {
			return err
		}
		u, err := prekey.UnusedFallback(tx, network, bob, d)
		if c[alg] != count || strings.Join(u, " ") != unused || u == nil {
			r.t.Errorf("%s: got %v and %q, want %d and %q", d, c, u, count, unused)
		}
		if _, ok := c[alg]; ok && count == 0 {
			r.t.Errorf("%s: got a count of zero, want none", d)
		}
		return err
	})
}

func (r *ring) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestKeysAreGivenOutOnceInOrderOfUpload(t *testing.T) {
	each(t, func(r *ring) {
		r.wantClaim("A", "")
		r.must(r.put("A", "z=1 a=2"))
		r.must(r.put("A", "k=3"))
		r.must(r.put("B", "b=4"))
		r.wantLeft("A", 3, "")
		for _, want := range []string{"z=1", "a=2", "k=3", ""} {
			r.wantClaim("A", want)
		}
		r.wantLeft("A", 0, "")
		r.wantLeft("B", 1, "")
	})
}

func TestRepeatedUpload(t *testing.T) {
	each(t, func(r *ring) {
		r.must(r.put("A", "a=1 b=2"))
		r.must(r.put("A", "a=1 b=2"))
		r.must(r.put("A", "b=2 c=3"))
		r.wantLeft("A", 3, "")
		if err := r.put("A", "d=4 b=changed"); !errors.Is(err, prekey.ErrDiffers) {
			r.t.Errorf("got %v, want ErrDiffers", err)
		}
		r.wantLeft("A", 3, "") // d is not there: an upload is whole or not at all
		if err := r.put("A", "e=1 e=2"); !errors.Is(err, prekey.ErrDiffers) {
			r.t.Errorf("one id twice: got %v, want ErrDiffers", err)
		}
	})
}

func TestClaimedKeyDoesNotComeBack(t *testing.T) {
	each(t, func(r *ring) {
		r.must(r.put("A", "a=1 b=2"))
		r.wantClaim("A", "a=1")
		r.must(r.put("A", "a=1 b=2 c=3")) // the repeat of an upload whose answer was lost
		r.must(r.put("A", "a=other"))
		r.wantLeft("A", 2, "")
		r.wantClaim("A", "b=2")
		r.wantClaim("A", "c=3")
		r.wantClaim("A", "")
	})
}

func TestFallback(t *testing.T) {
	each(t, func(r *ring) {
		r.wantLeft("A", 0, "")
		r.putFallback("A", "f1=1")
		r.must(r.put("A", "a=1"))
		r.wantLeft("A", 1, alg)
		r.wantClaim("A", "a=1")
		r.wantLeft("A", 0, alg)
		r.wantClaim("A", "f1=1!")
		r.wantClaim("A", "f1=1!")
		r.wantLeft("A", 0, "")
		r.putFallback("A", "f1=1") // a repeated upload does not make it unused again
		r.wantLeft("A", 0, "")
		r.putFallback("A", "f2=2")
		r.wantLeft("A", 0, alg)
		r.wantClaim("A", "f2=2!")
	})
}

func TestClaimMany(t *testing.T) {
	each(t, func(r *ring) {
		var wants []prekey.Want
		for i := range 150 {
			d := quinta.DeviceID(fmt.Sprintf("D%03d", i))
			switch i % 3 {
			case 0:
				r.must(r.put(d, "a=one b=two"))
			case 1:
				r.putFallback(d, "f=fall")
			}
			w := prekey.Want{User: bob, Device: d, Algorithm: alg}
			wants = append(wants, w, w) // twice: counts once
		}
		var got []prekey.Claimed
		r.update(func(tx *db.Tx) (err error) {
			got, err = prekey.Claim(tx, network, wants)
			return err
		})
		if len(got) != 100 {
			r.t.Fatalf("got %d keys, want 100", len(got))
		}
		for _, k := range got {
			if want := map[bool]string{false: "one", true: "fall"}[k.Fallback]; string(k.Body) != want || k.User != bob || k.Algorithm != alg {
				r.t.Errorf("got %+v", k)
			}
		}
		r.wantLeft("D000", 1, "")
		r.wantLeft("D001", 0, "")
	})
}

func TestClaimOfAnotherAlgorithm(t *testing.T) {
	each(t, func(r *ring) {
		r.must(r.put("A", "a=1"))
		r.update(func(tx *db.Tx) error {
			got, err := prekey.Claim(tx, network, []prekey.Want{{bob, "A", "other"}, {alice, "A", alg}, {bob, "a", alg}})
			if len(got) != 0 {
				r.t.Errorf("got %s, want nothing", show(got))
			}
			return err
		})
	})
}

func TestRemove(t *testing.T) {
	each(t, func(r *ring) {
		r.must(r.put("A", "a=1 b=2"))
		r.putFallback("A", "f=1")
		r.wantClaim("A", "a=1")
		r.update(func(tx *db.Tx) error { return prekey.Remove(tx, network, bob, "A") })
		r.wantClaim("A", "")
		r.must(r.put("A", "a=new")) // another device of the same name may use the same ids
		r.wantClaim("A", "a=new")
	})
}

func TestForget(t *testing.T) {
	each(t, func(r *ring) {
		r.must(r.put("A", "a=1 b=2"))
		r.putFallback("A", "f=1")
		r.update(prekey.Forget)
		r.wantLeft("A", 0, alg)
		r.must(r.put("A", "a=1")) // one that may have been given out does not come back
		r.wantClaim("A", "f=1!")
		r.must(r.put("A", "c=3"))
		r.wantClaim("A", "c=3")
	})
}

// Many claimers at once, while keys are still coming in: no key twice, none
// lost, each claimer in the order of upload.
func TestParallelClaimsGiveNoKeyTwice(t *testing.T) {
	const claimers, total, batch = 64, 3200, 50
	each(t, func(r *ring) {
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		var uploaded atomic.Bool
		wg.Go(func() {
			defer uploaded.Store(true)
			for i := 0; i < total; i += batch {
				var text []string
				for j := range batch {
					text = append(text, fmt.Sprintf("%06d=x", i+j))
				}
				for range 2 { // every upload comes twice
					if err := r.put("A", strings.Join(text, " ")); err != nil {
						r.t.Error(err)
						return
					}
				}
			}
		})
		for range claimers {
			wg.Go(func() {
				last := ""
				for {
					done := uploaded.Load()
					var got []prekey.Claimed
					if err := r.Update(r.t.Context(), func(tx *db.Tx) (err error) {
						got, err = prekey.Claim(tx, network, []prekey.Want{{bob, "A", alg}})
						return err
					}); err != nil {
						r.t.Error(err)
						return
					}
					if len(got) == 0 {
						if done {
							return
						}
						continue
					}
					if got[0].ID <= last {
						r.t.Errorf("got %s after %s", got[0].ID, last)
					}
					last = got[0].ID
					mu.Lock()
					seen[last]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != total {
			r.t.Errorf("got %d keys, want %d", len(seen), total)
		}
		for id, n := range seen {
			if n != 1 {
				r.t.Errorf("key %s was given out %d times", id, n)
			}
		}
	})
}
