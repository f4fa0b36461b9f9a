package server

import (
	"context"
	"errors"
	"time"

	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

const (
	// sweepEvery is how often the sets remove what no one will ask for again.
	sweepEvery = time.Minute
	// sweepRows bounds what one transaction of a sweep removes, so that other
	// writers hardly wait.
	sweepRows = 500
)

// A Periodic is a Front with small periodic work, such as expiring keys. It
// needs no goroutine of its own, unlike a [Runner].
type Periodic interface {
	Front
	// Periodically does what is due. [Core.Serve] calls it about once a minute,
	// on every node, while the network runs; an offline command never does. It
	// does each thing in a transaction that checks whether the thing is still
	// to be done.
	Periodically(ctx context.Context) error
}

// sweepAlways sweeps now and then, until ctx ends.
func (c *Core) sweepAlways(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := c.Sweep(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("server: a sweep failed and will be tried again", "err", err)
		}
	}
}

// Sweep removes what no one will ask for again, such as acknowledged messages
// and old idempotency ids, and lets the fronts do what is due. [Core.Serve]
// calls it about once a minute.
func (c *Core) Sweep(ctx context.Context) error {
	for _, sweep := range []func(*db.Tx, int) (bool, error){account.SweepCodes, mailbox.Sweep} {
		for more := true; more; {
			if err := c.UpdateAlways(ctx, func(tx *db.Tx) (err error) {
				more, err = sweep(tx, sweepRows)
				return err
			}); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, s := range c.running {
		if p, ok := s.front.(Periodic); ok {
			errs = append(errs, p.Periodically(ctx))
		}
	}
	return errors.Join(errs...)
}
