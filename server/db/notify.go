package db

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is the name under which nodes tell each other what changed.
const channel = "quinta_wake"

// A notifier collects keys and sends them to the other nodes on a connection
// of its own, after the commits: NOTIFY inside a write transaction would cut
// the rate of commits to a fifth.
type notifier struct {
	mu   sync.Mutex
	keys map[string]struct{}
	more chan struct{}
	// pid is the database's number of the sending connection, by which this
	// node knows its own words.
	pid atomic.Uint32
}

func (n *notifier) put(keys []string) {
	n.mu.Lock()
	for _, k := range keys {
		n.keys[k] = struct{}{}
	}
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// maxPayload is what one NOTIFY carries: PostgreSQL allows 7,999 bytes.
const maxPayload = 7000

// take returns what was collected, as payloads.
func (n *notifier) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	var b strings.Builder
	for k := range n.keys {
		if len(k) > maxPayload || strings.Contains(k, "\n") {
			out = append(out, "") // wakes everyone: never wrong
			continue
		}
		if b.Len()+len(k)+1 > maxPayload {
			out = append(out, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(k)
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	clear(n.keys)
	return out
}

// startWake starts the two connections that carry wake-ups.
func (p *postgresDB) startWake(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.wake = &notifier{keys: map[string]struct{}{}, more: make(chan struct{}, 1)}
	listening := make(chan struct{})
	p.wg.Go(func() { p.keep(ctx, "listen", func(c *pgx.Conn) error { return p.listen(ctx, c, listening) }) })
	p.wg.Go(func() { p.keep(ctx, "notify", func(c *pgx.Conn) error { return p.notify(ctx, c) }) })
	select {
	case <-listening:
	case <-time.After(connectTimeout):
	}
	return nil
}

// keep runs fn on a connection, and again on a new one when it is lost, until
// ctx ends.
func (p *postgresDB) keep(ctx context.Context, what string, fn func(*pgx.Conn) error) {
	wait := 50 * time.Millisecond
	for ctx.Err() == nil {
		c, err := pgx.ConnectConfig(ctx, p.cfg)
		if err == nil {
			began := time.Now()
			err = fn(c)
			cctx, cancel := context.WithTimeout(context.Background(), time.Second)
			c.Close(cctx) // lost or no longer needed
			cancel()
			if time.Since(began) > time.Second {
				wait = 50 * time.Millisecond
			}
		}
		if ctx.Err() != nil {
			return
		}
		p.d.cfg.Log.Warn("store: a wake-up connection was lost; readers poll until it is back", "connection", what, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// listen hands on what other nodes say. This node's own words come back too;
// its waiters have heard them already.
func (p *postgresDB) listen(ctx context.Context, c *pgx.Conn, ready chan struct{}) error {
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	select {
	case <-ready:
		p.d.deliver(nil) // anything may have changed while no one listened
	default:
		close(ready)
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.PID == p.wake.pid.Load() {
			continue
		}
		if n.Payload == "" {
			p.d.deliver(nil)
			continue
		}
		p.d.deliver(strings.Split(n.Payload, "\n"))
	}
}

// notifyEvery is how often other nodes are told at most: under load there are
// hundreds of commits a second, and each word to others comes back to its
// speaker too.
const notifyEvery = 5 * time.Millisecond

// notify sends what was collected, several keys at a time. What an earlier
// connection did not get through is made good by waking everyone.
func (p *postgresDB) notify(ctx context.Context, c *pgx.Conn) error {
	if p.wake.pid.Swap(c.PgConn().PID()) != 0 {
		if _, err := c.Exec(ctx, "SELECT pg_notify($1, '')", channel); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake.more:
		}
		for _, payload := range p.wake.take() {
			if _, err := c.Exec(ctx, "SELECT pg_notify($1, $2)", channel, payload); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(notifyEvery):
		}
	}
}
