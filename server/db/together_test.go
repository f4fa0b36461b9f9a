package db_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestTogether: a function sees the same in Together as without, also where a
// query depends on the answer to another, and where an answer is large.
func TestTogether(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
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
				if err := tx.Together(func() (err error) {
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
		if d.Embedded() && runs != 3 || !d.Embedded() && runs != 6 {
			t.Errorf("the function ran %d times", runs)
		}
	}, notes)
}

// TestTogetherFails: errors and panics of the function are its own.
func TestTogetherFails(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		sour := errors.New("sour")
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			if err := tx.Together(func() error { return sour }); !errors.Is(err, sour) {
				t.Errorf("got %v, want its own error", err)
			}
			if err := tx.Together(func() error { return tx.Do(`DELETE FROM note`) }); err == nil {
				t.Error("a view could write")
			}
			return tx.Together(func() error {
				var n int
				return tx.Row(`SELECT COUNT(*) FROM nowhere`).Scan(&n)
			})
		}); err == nil {
			t.Error("a query of a table that is not there was accepted")
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			return tx.Together(func() error {
				var n int
				if err := tx.Row(`SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
					panic("in the rehearsal only")
				}
				return nil
			})
		}); err != nil {
			t.Errorf("a panic in the rehearsal came through: %v", err)
		}
		// A write may use it too, and runs its function once.
		runs := 0
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			return tx.Together(func() error {
				runs++
				return put(tx, 1, "one")
			})
		}); err != nil || runs != 1 {
			t.Errorf("got %v after %d runs, want one", err, runs)
		}
	}, notes)
}
