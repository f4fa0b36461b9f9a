package db_test

import (
	"context"
	"errors"
	"fmt"
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
	until := time.Now().Add(time.Minute)
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
	if !errors.Is(err, context.Canceled) || time.Since(began) > 15*time.Second {
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

// TestDatabaseIsFull: when the database says that its disk is full, nothing of
// the group is kept and its callers hear why; reading goes on, and writing too
// once there is room.
func TestDatabaseIsFull(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "postgres"), notes)
	if err := d.Update(t.Context(), func(tx *db.Tx) error {
		if err := tx.Queue(`CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF NEW.word = ''much'' THEN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''disk_full''; END IF;
			RETURN NEW; END'`); err != nil {
			return err
		}
		if err := tx.Queue(`CREATE TRIGGER no_space BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION no_space()`); err != nil {
			return err
		}
		return later(tx, 1, "before")
	}); err != nil {
		t.Fatal(err)
	}
	for i, write := range []func(*db.Tx, int64, string) error{later, put} {
		errs := group(t, d,
			func(tx *db.Tx) error { return later(tx, 2, "lost") },
			func(tx *db.Tx) error { return write(tx, 3, "much") },
			func(tx *db.Tx) error { return put(tx, 4, "lost") })
		if quinta.KindOf(errs[0]) != quinta.KindFull || quinta.KindOf(errs[1]) != quinta.KindFull {
			t.Errorf("%d: got %v, want that there is no room", i, errs)
		}
		if errs[2] == nil { // begun after the failure, in a transaction of its own
			if err := d.Update(t.Context(), func(tx *db.Tx) error { return tx.Queue(`DELETE FROM note WHERE id = 4`) }); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(words(t, d)); got != "[before]" {
			t.Errorf("%d: got %s, want only what was there before", i, got)
		}
	}
	if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 5, "after") }); err != nil {
		t.Errorf("after there was room again: %v", err)
	}
}
