package lease

import (
	"context"
	"log/slog"
	"time"

	"github.com/quinta-chat/quinta/server/db"
)

// Terms are the times of a lease.
type Terms struct {
	// Length is for how long a lease is taken, Every how often the holder
	// renews it and the others look whether it is free.
	Length, Every time.Duration
	// Margin is how long before its end the holder of a lease that could not be
	// renewed stops: what the clocks of two nodes may differ by.
	Margin time.Duration
}

// Default are terms by which another node takes over at most 30 seconds after
// the death of the holder: Length and Every together, with time for the
// transactions.
var Default = Terms{Length: 20 * time.Second, Every: 5 * time.Second, Margin: 5 * time.Second}

// releaseTimeout bounds the release of a lease at a stop.
const releaseTimeout = 2 * time.Second

// A Lease is a lease as one node sees it.
type Lease struct {
	DB *db.DB
	// Name names what is held; Node is this node, and no other one ever.
	Name, Node string
	Terms      Terms
	Log        *slog.Logger
}

// Hold waits for the lease and runs work while it holds it. The context of
// work ends before another node can have the lease; work then returns
// promptly, and Hold waits for the lease again. Hold returns when work returns
// by itself, with its error, or nil when ctx ends; the lease is free then.
func (l *Lease) Hold(ctx context.Context, work func(ctx context.Context) error) error {
	t := time.NewTicker(l.Terms.Every)
	defer t.Stop()
	for {
		if l.free(ctx) {
			if until, held := l.take(ctx); held {
				if lost, err := l.working(ctx, until, t, work); !lost {
					return err
				}
				l.Log.Warn("server: a lease was lost; waiting for it", "lease", l.Name)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// free reports whether no other node holds the lease. Nodes that wait only
// read.
func (l *Lease) free(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.Terms.Every)
	defer cancel()
	node := ""
	err := l.DB.View(ctx, func(tx *db.Tx) (err error) {
		node, err = Holder(tx, l.Name)
		return err
	})
	if err != nil && ctx.Err() == nil {
		l.Log.Warn("server: a lease could not be read; trying again", "lease", l.Name, "err", err)
	}
	return err == nil && (node == "" || node == l.Node)
}

// take takes or renews the lease. until is when work must have stopped, by
// this node's monotonic clock, which was read before the lease began.
func (l *Lease) take(ctx context.Context) (until time.Time, held bool) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.Terms.Every)
	defer cancel()
	err := l.DB.Update(ctx, func(tx *db.Tx) (err error) {
		held, err = Take(tx, l.Name, l.Node, tx.Millis()+l.Terms.Length.Milliseconds())
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			l.Log.Warn("server: a lease could not be taken; trying again", "lease", l.Name, "err", err)
		}
		return began, false
	}
	return began.Add(l.Terms.Length - l.Terms.Margin), held
}

// working runs work and renews the lease. lost says that the lease could not
// be renewed in time and that work was stopped for it.
func (l *Lease) working(ctx context.Context, until time.Time, t *time.Ticker, work func(ctx context.Context) error) (lost bool, err error) {
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- work(wctx) }()
	fence := time.NewTimer(time.Until(until))
	defer fence.Stop()
	for {
		select {
		case err := <-ended:
			l.release(ctx)
			if ctx.Err() != nil {
				err = nil
			}
			return false, err
		case <-fence.C:
			stop()
			<-ended // whatever it says: it was told to stop
			return true, nil
		case <-t.C:
			// The fence must hold even while the store does not answer.
			renewed := make(chan time.Time, 1)
			go func() {
				defer close(renewed)
				if until, held := l.take(wctx); held {
					renewed <- until
				}
			}()
			select {
			case next, ok := <-renewed:
				if ok {
					fence.Reset(time.Until(next))
				}
			case <-fence.C:
				stop()
				<-ended
				<-renewed
				return true, nil
			}
		}
	}
}

// release frees the lease for the next node, also when ctx has ended.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := l.DB.Update(ctx, func(tx *db.Tx) error { return Release(tx, l.Name, l.Node) }); err != nil {
		l.Log.Info("server: a lease could not be released, and will expire", "lease", l.Name, "err", err)
	}
}
