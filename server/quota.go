package server

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/quota"
	"github.com/quinta-chat/quinta/server/vault"
)

// An AccountNamer is a Front that knows the account behind a user of its
// network, so that what the user stores counts for the account.
type AccountNamer interface {
	Front
	// AccountOf returns the account of a user, or "" if the user has none on
	// this server. The answer for a user who has one never changes.
	AccountOf(tx *db.Tx, user quinta.UserID) (account.Name, error)
}

// A StorageCounter is a Front with tables of its own that hold what users
// store. Whatever changes them notes it with [db.Tx.Count].
type StorageCounter interface {
	Front
	// CountStored notes with [db.Tx.Count] all that the front's own tables hold.
	CountStored(tx *db.Tx) error
}

// Update is [db.DB.Update] with what the core asks of every transaction: what
// was noted with [db.Tx.Count] is added to the sums of the accounts, and a
// transaction that makes a sum larger than its limit fails as a whole, with an
// error of KindQuota or KindLimited. While there is less free disk than
// Config.MinFreeDisk it fails with KindFull and runs nothing; see UpdateAlways.
func (c *Core) Update(ctx context.Context, fn func(*db.Tx) error) error {
	if err := c.disk.check(); err != nil {
		return err
	}
	return c.UpdateAlways(ctx, fn)
}

// UpdateAlways is Update for acknowledgements, removals, and what ends a login:
// it also runs while the disk is nearly full, so that room can be made.
func (c *Core) UpdateAlways(ctx context.Context, fn func(*db.Tx) error) error {
	var sums []quota.Sum
	err := c.DB.Update(ctx, func(tx *db.Tx) (err error) {
		if err := fn(tx); err != nil {
			return err
		}
		sums, err = c.count(tx, c.Quotas)
		return err
	})
	if err == nil && len(sums) > 0 {
		c.near.note(sums, c.Quotas)
	}
	return err
}

// ownerOf returns whose sum what a user stores belongs to.
func (c *Core) ownerOf(tx *db.Tx, u db.User) (quota.Owner, error) {
	if o, ok := c.owners.Load(u); ok {
		return o.(quota.Owner), nil
	}
	n, ok := c.namers[u.Network()]
	if !ok {
		return quota.Owner(u), nil
	}
	name, err := n.AccountOf(tx, u.ID())
	if err != nil || name == "" {
		return quota.Owner(u), err
	}
	c.owners.Store(u, quota.Owner(name))
	return quota.Owner(name), nil
}

// count adds the bytes that a transaction has recorded to the sums, and
// compares those that grew with the limits.
func (c *Core) count(tx *db.Tx, limits quota.Limits) ([]quota.Sum, error) {
	if len(tx.Counts()) == 0 {
		return nil, nil
	}
	type key struct {
		owner quota.Owner
		class db.Class
	}
	total := map[key]int64{}
	for _, n := range tx.Counts() {
		o, err := c.ownerOf(tx, n.User)
		if err != nil {
			return nil, err
		}
		total[key{o, n.Class}] += n.Bytes
	}
	keys := make([]key, 0, len(total))
	for k, n := range total {
		if n != 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.class, b.class)) })
	var sums, grown []quota.Sum
	for _, k := range keys {
		s, err := quota.Add(tx, k.owner, k.class, total[k])
		if err != nil {
			return nil, err
		}
		sums = append(sums, s)
		if n := total[k]; n > 0 && !(tx.Waits() && c.near.far(s, n, limits)) {
			grown = append(grown, s)
		}
	}
	for _, s := range grown {
		if err := s.Check(limits); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// Where an answer takes a round trip, a small addition to what is sent, which
// happens often, is not checked against its limit before the commit as long as
// this node saw the sum far below: several nodes together can go beyond a limit
// by one part in nearPart each.
const nearPart = 16

// maxNear bounds what a node remembers of sums that are near their limits; if
// there are more it looks at every sum again.
const maxNear = 10_000

// nearLimits are the sums that this node saw near their limits.
type nearLimits struct {
	mu  sync.Mutex
	all map[string]bool
}

func nearKey(s quota.Sum) string { return string(s.Class) + " " + string(s.Owner) }

// far reports whether a sum that grows by n bytes need not be looked at.
func (l *nearLimits) far(s quota.Sum, n int64, limits quota.Limits) bool {
	if s.Class != db.ClassQueue && s.Class != db.ClassMessages || n > limits[s.Class]/nearPart {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.all[nearKey(s)] && len(l.all) < maxNear
}

// note remembers which sums of a committed transaction are near their limits.
func (l *nearLimits) note(sums []quota.Sum, limits quota.Limits) {
	for _, s := range sums {
		most := limits[s.Class]
		n, err := s.Bytes()
		if err != nil || most <= 0 {
			continue // a sum that is not known here is looked at where it is stored
		}
		l.mu.Lock()
		if n > most-most/nearPart*2 {
			if l.all == nil {
				l.all = map[string]bool{}
			}
			l.all[nearKey(s)] = true
		} else {
			delete(l.all, nearKey(s))
		}
		l.mu.Unlock()
	}
}

// usageCounted is the fact that the sums of a store were counted once, by the
// rules of this version.
const usageCounted = "usage-counted-2"

// countOnce counts what a store holds that an earlier version has written.
func (c *Core) countOnce(ctx context.Context) error {
	done := ""
	if err := c.View(ctx, func(tx *db.Tx) (err error) {
		done, err = db.Fact(tx, usageCounted)
		return err
	}); err != nil || done != "" {
		return err
	}
	return c.DB.Update(ctx, func(tx *db.Tx) error {
		// Another node may have been faster.
		if done, err := db.Fact(tx, usageCounted); err != nil || done != "" {
			return err
		}
		return c.recount(tx)
	})
}

// Recount counts all that is stored from scratch, and returns how many sums
// were wrong: none, unless a node of an earlier version wrote to the store
// meanwhile.
func (c *Core) Recount(ctx context.Context) (wrong int, err error) {
	err = c.DB.Update(ctx, func(tx *db.Tx) error {
		before, err := quota.All(tx)
		if err != nil {
			return err
		}
		if err := c.recount(tx); err != nil {
			return err
		}
		after, err := quota.All(tx)
		wrong = quota.Differ(before, after)
		return err
	})
	return wrong, err
}

func (c *Core) recount(tx *db.Tx) error {
	if err := quota.Clear(tx); err != nil {
		return err
	}
	for _, all := range []func(*db.Tx) error{blob.CountAll, conversation.CountAll, mailbox.CountAll, prekey.CountAll, vault.CountAll} {
		if err := all(tx); err != nil {
			return err
		}
	}
	for _, f := range c.fronts {
		if s, ok := f.(StorageCounter); ok {
			if err := s.CountStored(tx); err != nil {
				return err
			}
		}
	}
	if _, err := c.count(tx, nil); err != nil {
		return err
	}
	return db.SetFact(tx, usageCounted, "yes")
}

// Usage returns what is kept for accounts.
func (c *Core) Usage(ctx context.Context, names []account.Name) (map[account.Name]quota.Used, error) {
	owners := make([]quota.Owner, len(names))
	for i, n := range names {
		owners[i] = quota.Owner(n)
	}
	out := map[account.Name]quota.Used{}
	err := c.View(ctx, func(tx *db.Tx) error {
		found, err := quota.List(tx, owners)
		for o, u := range found {
			out[account.Name(o)] = u
		}
		return err
	})
	return out, err
}
