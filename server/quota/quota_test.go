package quota_test

import (
	"sync"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// of reads what is kept for an owner.
func of(t *testing.T, d *db.DB, owner quota.Owner) (u quota.Used) {
	t.Helper()
	if err := d.View(t.Context(), func(tx *db.Tx) (err error) {
		u, err = quota.Of(tx, owner)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return u
}

// add changes a sum and checks it.
func add(d *db.DB, t *testing.T, owner quota.Owner, class db.Class, n int64, l quota.Limits) error {
	return d.Update(t.Context(), func(tx *db.Tx) error {
		s, err := quota.Add(tx, owner, class, n)
		if err != nil {
			return err
		}
		return s.Check(l)
	})
}

// TestAdd: a sum grows up to its limit and not beyond, shrinks, never below
// zero, and holds more than 32 bits.
func TestAdd(t *testing.T) {
	t.Parallel()
	stores.Each(t, func(t *testing.T, d *db.DB) {
		l := quota.Limits{db.ClassMedia: 5 << 30, db.ClassQueue: 10}
		for _, c := range []struct {
			class db.Class
			n     int64
			kind  quinta.Kind // of the error; KindInternal: none
			want  int64
		}{
			{db.ClassMedia, 3 << 30, quinta.KindInternal, 3 << 30},
			{db.ClassMedia, 2<<30 + 1, quinta.KindQuota, 3 << 30},
			{db.ClassMedia, 2 << 30, quinta.KindInternal, 5 << 30},
			{db.ClassMedia, 1, quinta.KindQuota, 5 << 30},
			{db.ClassMedia, -4 << 30, quinta.KindInternal, 1 << 30},
			{db.ClassMedia, -4 << 30, quinta.KindInternal, 0},
			{db.ClassQueue, 11, quinta.KindLimited, 0},
			{db.ClassQueue, 10, quinta.KindInternal, 10},
			{db.ClassData, 1 << 40, quinta.KindInternal, 1 << 40},
		} {
			err := add(d, t, "alice", c.class, c.n, l)
			if (err == nil) != (c.kind == quinta.KindInternal) || err != nil && quinta.KindOf(err) != c.kind {
				t.Errorf("%s %+d: got %v, want kind %v", c.class, c.n, err, c.kind)
			}
			if got := of(t, d, "alice")[c.class]; got != c.want {
				t.Errorf("%s %+d: got a sum of %d, want %d", c.class, c.n, got, c.want)
			}
		}
		if got := of(t, d, "bob"); len(got) != 0 {
			t.Errorf("got %v for another owner", got)
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			got, err := quota.List(tx, []quota.Owner{"alice", "bob", "carol"})
			if len(got) != 1 || got["alice"][db.ClassQueue] != 10 {
				t.Errorf("got %v", got)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}, quota.Schema)
}

// TestNodes: what two nodes count at a time is all in the sum, and together they
// do not go beyond a limit.
func TestNodes(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	nodes := []*db.DB{stores.Open(t, cfg, quota.Schema), stores.Open(t, cfg, quota.Schema)}
	const each, bytes, limit = 60, 7, 500
	var mu sync.Mutex
	var wait sync.WaitGroup
	kept := int64(0)
	for _, d := range nodes {
		for range each {
			wait.Go(func() {
				err := add(d, t, "alice", db.ClassMedia, bytes, quota.Limits{db.ClassMedia: limit})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					kept += bytes
				case quinta.KindOf(err) != quinta.KindQuota:
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if got := of(t, nodes[0], "alice")[db.ClassMedia]; got != kept || got != limit/bytes*bytes {
		t.Errorf("got a sum of %d for %d bytes that were taken, want %d", got, kept, limit/bytes*bytes)
	}
}
