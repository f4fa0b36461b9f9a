package blob

import (
	"context"
	"errors"
	"time"

	"github.com/quinta-chat/quinta/server/db"
)

// sweepBatch bounds what one round removes.
const sweepBatch = 100

// Run sweeps at once and then now and then, until ctx ends. A server calls it
// while it serves.
func (b *Blobs) Run(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		n, err := b.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("media store: the sweep failed and will be tried again", "err", err)
		}
		if n > 0 {
			b.cfg.Log.Info("media store: removed loose bytes", "files", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Sweep forgets the reserved ids that have expired and removes the loose
// bytes that are due. It returns how many files it removed.
func (b *Blobs) Sweep(ctx context.Context) (int, error) {
	b.kept.Lock()
	defer b.kept.Unlock()
	removed := 0
	for {
		due := false
		now := int64(0)
		err := b.db.View(ctx, func(tx *db.Tx) error {
			now = tx.Millis()
			var n int
			err := tx.Row(`SELECT (SELECT COUNT(*) FROM blob_loose WHERE due <= $1) + (SELECT COUNT(*) FROM blob WHERE bytes IS NULL AND expires <= $1)`, now).Scan(&n)
			due = n > 0
			return err
		})
		if err != nil || !due {
			return removed, err
		}
		var keys []string
		err = b.db.Update(ctx, func(tx *db.Tx) error {
			keys = nil
			if err := tx.Queue(`DELETE FROM blob WHERE bytes IS NULL AND expires <= $1`, now); err != nil {
				return err
			}
			// A claim that a crash cut off is taken up again.
			for row, err := range tx.Query(`SELECT bytes FROM blob_loose WHERE due <= $1 ORDER BY due LIMIT $2`, now, sweepBatch) {
				if err != nil {
					return err
				}
				var k string
				if err := row.Scan(&k); err != nil {
					return err
				}
				keys = append(keys, k)
			}
			for _, k := range keys {
				if err := tx.Queue(`UPDATE blob_loose SET claimed = $1 WHERE bytes = $2`, true, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return removed, err
		}
		if err := b.removeClaimed(ctx, keys); err != nil {
			return removed, err
		}
		removed += len(keys)
		if len(keys) < sweepBatch {
			return removed, nil
		}
	}
}

// removeClaimed removes the bytes, and then their keys from the table. A key
// whose bytes cannot be removed stays for the next sweep.
func (b *Blobs) removeClaimed(ctx context.Context, keys []string) error {
	var gone []string
	var errs []error
	for _, k := range keys {
		if err := b.store.remove(ctx, k); err != nil {
			errs = append(errs, b.unavailable("remove", err))
			continue
		}
		gone = append(gone, k)
	}
	if len(gone) > 0 {
		errs = append(errs, b.db.Update(ctx, func(tx *db.Tx) error {
			for _, k := range gone {
				if err := tx.Queue(`DELETE FROM blob_loose WHERE bytes = $1 AND claimed`, k); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}
