package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestConnectionsAreKilled: a write under way fails whole, a later one and
// all readers get new connections.
func TestConnectionsAreKilled(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	d, other := stores.Open(t, cfg, notes), stores.Open(t, cfg, notes)
	if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 1, "before") }); err != nil {
		t.Fatal(err)
	}
	kill := func() error {
		return other.View(t.Context(), func(tx *db.Tx) error {
			var n int
			return tx.Row(`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		})
	}
	errs := group(t, d,
		func(tx *db.Tx) error { return later(tx, 2, "lost") },
		func(tx *db.Tx) error {
			if err := kill(); err != nil {
				t.Error(err)
			}
			return later(tx, 3, "lost")
		})
	for i, err := range errs {
		if quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("request %d: got %v, want unavailable", i, err)
		}
	}
	if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 4, "after") }); err != nil {
		t.Errorf("after the loss: %v", err)
	}
	// Idle connections die too, of the writer and of the readers.
	if err := kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 5, "again") }); err != nil {
		t.Errorf("after the loss of an idle connection: %v", err)
	}
	until := time.Now().Add(20 * time.Second)
	for {
		var n int
		err := d.View(t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT COUNT(*) FROM note`).Scan(&n) })
		if err == nil && n == 3 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("readers: got %d rows, %v", n, err)
		}
	}
}

// TestReaderGivesUp: a view whose context ends returns at once, and the
// connection that is still at work is not given to another.
func TestReaderGivesUp(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	cfg.Readers = 1
	d := stores.Open(t, cfg, notes)
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	time.AfterFunc(50*time.Millisecond, cancel)
	err := d.View(ctx, func(tx *db.Tx) error {
		var s string
		return tx.Row(`SELECT CAST(pg_sleep(20) AS TEXT)`).Scan(&s)
	})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s, want that the context ended", err, time.Since(began))
	}
	for i := range 5 {
		var n int
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			return tx.Row(`SELECT CAST($1 AS BIGINT)`, i).Scan(&n)
		}); err != nil || n != i {
			t.Fatalf("got %d %v, want %d", n, err, i)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Peek(done, func(tx *db.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}

// TestErrorInAView leaves the connection in order.
func TestErrorInAView(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	cfg.Readers = 1
	d := stores.Open(t, cfg, notes)
	for range 3 {
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			var n int
			return tx.Row(`SELECT 1 / CAST($1 AS BIGINT)`, 0).Scan(&n)
		}); err == nil {
			t.Fatal("a division by zero was accepted")
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			for range tx.Query(`SELECT generate_series(1, 1000)`) {
				break
			}
			var n int
			if err := tx.Row(`SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
				return err
			}
			for range tx.Query(`SELECT generate_series(1, 1000)`) {
				panic("boom")
			}
			return nil
		}); err == nil {
			t.Fatal("a panic was lost")
		}
	}
}
