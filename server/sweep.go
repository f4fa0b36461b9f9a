package server

import (
	"context"
	"errors"
	"time"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
)

const (
	// sweepEvery is how often the sets remove what nobody will ask for again.
	sweepEvery = time.Minute
	// sweepRows bounds what one transaction of a sweep removes, so that other
	// writers hardly wait.
	sweepRows = 500
)

// A Periodic is a Front that does something now and then by itself, such as
// ending what has run out.
type Periodic interface {
	Front
	// Periodically does what is due. It is called about once a minute, and on every
	// node: it does each thing in a transaction that looks whether the thing
	// is still to be done.
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

// Sweep removes what nobody will ask for again, such as acknowledged messages
// and old idempotency ids, and lets the fronts do what is due. A running core
// does so by itself.
func (c *Core) Sweep(ctx context.Context) error {
	for _, sweep := range []func(*db.Tx, int) (bool, error){mailbox.Sweep, prekey.Sweep} {
		for more := true; more; {
			if err := c.Update(ctx, func(tx *db.Tx) (err error) {
				more, err = sweep(tx, sweepRows)
				return err
			}); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, f := range c.fronts {
		if p, ok := f.(Periodic); ok {
			errs = append(errs, p.Periodically(ctx))
		}
	}
	return errors.Join(errs...)
}
