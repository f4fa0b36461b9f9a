package server

import (
	"context"
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
// and old idempotency ids. A running core does so by itself.
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
	return nil
}
