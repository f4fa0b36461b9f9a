package db_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// each runs fn on every engine, and on an embedded store that rehearses.
func each(t *testing.T, fn func(t *testing.T, d *db.DB, rehearses bool)) {
	stores.Each(t, func(t *testing.T, d *db.DB) { fn(t, d, !d.Embedded()) }, notes)
	t.Run("rehearsing", func(t *testing.T) {
		t.Parallel()
		cfg := stores.Config(t, "sqlite")
		cfg.Rehearse = true
		fn(t, stores.Open(t, cfg, notes), true)
	})
}

// TestPrefetch: a function sees the same in Prefetch as without, also where a
// query depends on the answer to another, and where an answer is large.
func TestPrefetch(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, rehearses bool) {
		large := bytes.Repeat([]byte("x"), 100<<10)
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range int64(5) {
				if _, err := tx.Exec(`INSERT INTO note (id, word, body, read) VALUES ($1, $2, $3, TRUE)`, i, fmt.Sprint("w", i), large); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		look := func(tx *db.Tx) (string, error) {
			var first, next, none string
			err := tx.Row(`SELECT word FROM note WHERE id = $1`, 0).Scan(&first)
			if err != nil && !errors.Is(err, db.ErrNoRows) {
				return "", err
			}
			// This one is not asked for as the rehearsal would.
			if err := tx.Row(`SELECT word FROM note WHERE word > $1 ORDER BY word LIMIT 1`, first).Scan(&next); err != nil && !errors.Is(err, db.ErrNoRows) {
				return "", err
			}
			if err := tx.Row(`SELECT word FROM note WHERE word = $1`, "nobody").Scan(&none); !errors.Is(err, db.ErrNoRows) {
				return "", fmt.Errorf("no row: got %v", err)
			}
			size, rows := 0, 0
			for row, err := range tx.Query(`SELECT body FROM note WHERE body <> $1 ORDER BY id`, []byte("y")) {
				if err != nil {
					return "", err
				}
				var b []byte
				if err := row.Scan(&b); err != nil {
					return "", err
				}
				size += len(b)
				if rows++; rows == 4 {
					break
				}
			}
			var again string
			if err := tx.Row(`SELECT word FROM note WHERE id = $1`, 0).Scan(&again); err != nil {
				return "", err
			}
			return fmt.Sprintln(first, next, again, size), nil
		}
		const want = "w0 w1 w0 409600\n"
		runs := 0
		for range 3 {
			if err := d.View(t.Context(), func(tx *db.Tx) error {
				if _, err := tx.Pos(); err != nil {
					return err
				}
				var got string
				if err := tx.Prefetch(func() (err error) {
					runs++
					got, err = look(tx)
					return err
				}); err != nil {
					return err
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				plain, err := look(tx)
				if plain != want {
					t.Errorf("after it: got %q, want %q", plain, want)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[bool]int{false: 3, true: 6}[rehearses]; runs != want {
			t.Errorf("the function ran %d times, want %d", runs, want)
		}
	})
}

// TestPrefetchFails: errors and panics of the function are its own.
func TestPrefetchFails(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, rehearses bool) {
		sour := errors.New("sour")
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			if err := tx.Prefetch(func() error { return sour }); !errors.Is(err, sour) {
				t.Errorf("got %v, want its own error", err)
			}
			if err := tx.Prefetch(func() error { return tx.Queue(`DELETE FROM note`) }); err == nil {
				t.Error("a view could write")
			}
			return tx.Prefetch(func() error {
				var n int
				return tx.Row(`SELECT COUNT(*) FROM nowhere`).Scan(&n)
			})
		}); err == nil {
			t.Error("a query of a table that is not there was accepted")
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			return tx.Prefetch(func() error {
				var n int
				if err := tx.Row(`SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
					panic("in the rehearsal only")
				}
				return nil
			})
		}); err != nil {
			t.Errorf("a panic in the rehearsal came through: %v", err)
		}
		// A runtime error is one on no rows as well, and is not hidden.
		err := d.View(t.Context(), func(tx *db.Tx) error {
			return tx.Prefetch(func() error {
				var list []int64
				for row, err := range tx.Query(`SELECT COUNT(*) FROM note`) {
					var n int64
					if err := errors.Join(err, row.Scan(&n)); err != nil {
						return err
					}
					list = append(list, n)
				}
				if list[0] < 0 { // out of range on no rows
					t.Error("fewer than no notes")
				}
				return nil
			})
		})
		if got := err != nil && strings.Contains(err.Error(), "index out of range"); got != rehearses {
			t.Errorf("a runtime error in a rehearsal came through: got %v, want %v", got, rehearses)
		}
		// The store still answers.
		if err := d.View(t.Context(), func(tx *db.Tx) error { _, err := tx.Pos(); return err }); err != nil {
			t.Errorf("after a panic: got %v", err)
		}
		// A write may use it too, and runs its function once.
		runs := 0
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			return tx.Prefetch(func() error {
				runs++
				return put(tx, 1, "one")
			})
		}); err != nil || runs != 1 {
			t.Errorf("got %v after %d runs, want one", err, runs)
		}
	})
}
