package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// later puts a note without waiting.
func later(tx *db.Tx, id int64, word string) error {
	return tx.Queue(`INSERT INTO note (id, word, body, read) VALUES ($1, $2, $3, $4)`, id, word, []byte(word), id%2 == 0)
}

// group runs the functions as requests of one group, in this order, and
// returns their errors.
func group(t *testing.T, d *db.DB, fns ...func(*db.Tx) error) []error {
	t.Helper()
	before := d.Stats()
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	begun, waiting := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		if err := d.Update(context.Background(), func(*db.Tx) error {
			close(begun)
			<-waiting
			return nil
		}); err != nil {
			t.Log("the first request:", err)
		}
	})
	<-begun
	// What is asked now waits behind the first request and shares its commit.
	for i, fn := range fns {
		queued := d.Waiting()
		wg.Go(func() { errs[i] = d.Update(context.Background(), fn) })
		for until := time.Now().Add(time.Minute); d.Waiting() == queued; {
			if time.Now().After(until) {
				t.Fatal("a request does not queue")
			}
			runtime.Gosched()
		}
	}
	close(waiting)
	wg.Wait()
	if s := d.Stats(); s.Commits-before.Commits > 2 {
		t.Errorf("got %d commits, want one for the group", s.Commits-before.Commits)
	}
	return errs
}

// TestAnErrorThatComesLateFailsItsRequestAlone: the database refuses a
// statement when those after it were sent already.
func TestAnErrorThatComesLateFailsItsRequestAlone(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		var count, again *db.Answer
		var seen []string
		var woken []string
		var mu sync.Mutex
		d.Subscribe(func(keys []string) {
			mu.Lock()
			defer mu.Unlock()
			woken = append(woken, keys...)
		})
		do := func(ids ...int64) func(*db.Tx) error {
			return func(tx *db.Tx) error {
				tx.Wake(fmt.Sprint("k", ids[0]))
				for _, id := range ids {
					if err := later(tx, id, fmt.Sprint("n", id)); err != nil {
						return err
					}
				}
				return nil
			}
		}
		sour := errors.New("sour")
		errs := group(t, d,
			do(1, 2),
			do(3, 1), // 1 is there
			do(4),
			func(tx *db.Tx) (err error) {
				count, err = tx.Ask(`INSERT INTO note (id, word, read) VALUES ($1, 'asked', TRUE), ($2, 'asked', TRUE) ON CONFLICT (id) DO NOTHING`, 5, 3)
				return err
			},
			do(6, 6),
			func(tx *db.Tx) error {
				if err := later(tx, 7, "seven"); err != nil {
					return err
				}
				for row, err := range tx.Query(`SELECT word FROM note ORDER BY id`) {
					if err != nil {
						return err
					}
					var w string
					if err := row.Scan(&w); err != nil {
						return err
					}
					seen = append(seen, w)
				}
				return nil
			},
			func(tx *db.Tx) error {
				if err := later(tx, 8, "eight"); err != nil {
					return err
				}
				return sour
			},
			func(tx *db.Tx) error {
				if err := later(tx, 9, "nine"); err != nil {
					return err
				}
				if _, err := tx.Exec(`UPDATE note SET word = 'lost' WHERE id = 1`); err != nil {
					return err
				}
				if err := later(tx, 10, "ten"); err != nil {
					return err
				}
				return sour
			},
			func(tx *db.Tx) (err error) {
				again, err = tx.Ask(`UPDATE note SET read = TRUE WHERE id <= 4 RETURNING id`)
				return err
			},
			do(11, 4),
			do(12),
		)
		for i, err := range errs {
			switch i {
			case 1, 4, 9:
				if err == nil || errors.Is(err, sour) {
					t.Errorf("request %d: got %v, want that its row is there already", i, err)
				}
			case 6, 7:
				if !errors.Is(err, sour) {
					t.Errorf("request %d: got %v, want its own error", i, err)
				}
			default:
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		}
		if got, want := fmt.Sprint(words(t, d)), "[n1 n2 asked n4 asked seven n12]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(seen), "[n1 n2 asked n4 asked seven]"; got != want {
			t.Errorf("a request in the group saw %s, want %s", got, want)
		}
		if n, err := count.Changed(); n != 2 || err != nil {
			t.Errorf("got %d rows (%v), want 2", n, err)
		}
		rows := 0
		for row, err := range again.Rows() {
			var id int64
			if err == nil {
				err = row.Scan(&id)
			}
			if err != nil {
				t.Fatal(err)
			}
			rows++
		}
		if n, err := again.Changed(); rows != 4 || n != 4 || err != nil {
			t.Errorf("got %d rows and %d changed (%v), want 4", rows, n, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(woken), "[k1 k4 k12]"; got != want {
			t.Errorf("woken were %s, want %s: no one for a request that failed", got, want)
		}
	}, notes)
}

// TestAnErrorIsNotForgotten: a request whose statement has failed is not kept,
// whatever its function makes of that.
func TestAnErrorIsNotForgotten(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		for name, fn := range map[string]func(*db.Tx) error{
			"ignored": func(tx *db.Tx) error {
				if err := put(tx, 2, "two"); err != nil {
					return err
				}
				if put(tx, 1, "again") == nil {
					t.Error("a second row with the same key was accepted")
				}
				if put(tx, 3, "three") == nil {
					t.Error("a statement after one that failed was accepted")
				}
				return nil
			},
			"late": func(tx *db.Tx) error { return later(tx, 1, "again") },
			"late and ignored": func(tx *db.Tx) error {
				if err := later(tx, 2, "two"); err != nil {
					return err
				}
				if later(tx, 1, "again") == nil && put(tx, 3, "three") == nil {
					t.Error("a statement after one that failed was accepted")
				}
				return nil
			},
			"asked": func(tx *db.Tx) error {
				a, err := tx.Ask(`INSERT INTO note (id, word, read) VALUES (1, 'x', TRUE)`)
				if err != nil {
					return err
				}
				if n, err := a.Changed(); err == nil {
					t.Errorf("got %d rows changed", n)
				}
				return nil
			},
			"not SQL": func(tx *db.Tx) error {
				if err := later(tx, 2, "two"); err != nil {
					return err
				}
				return tx.Queue(`INSERT INTO nowhere (id) VALUES (1)`)
			},
		} {
			if err := d.Update(t.Context(), func(tx *db.Tx) error {
				return tx.Queue(`INSERT INTO note (id, word, read) VALUES (1, 'one', TRUE) ON CONFLICT (id) DO NOTHING`)
			}); err != nil {
				t.Fatal(err)
			}
			if err := d.Update(t.Context(), fn); err == nil {
				t.Errorf("%s: no error", name)
			}
			if got := fmt.Sprint(words(t, d)); got != "[one]" {
				t.Errorf("%s: got %s, want [one]", name, got)
			}
		}
	}, notes)
}

// TestMuchIsQueued: what is queued is sent in time, and neither side waits for
// the other to read.
func TestMuchIsQueued(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		large := bytes.Repeat([]byte("x"), 300<<10)
		var answers []*db.Answer
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range int64(3000) {
				if err := later(tx, i, "small"); err != nil {
					return err
				}
			}
			for i := range int64(12) {
				a, err := tx.Ask(`INSERT INTO note (id, word, body, read) VALUES ($1, 'large', $2, TRUE) RETURNING body`, 10_000+i, large)
				if err != nil {
					return err
				}
				answers = append(answers, a)
				for range 20 {
					if a, err = tx.Ask(`SELECT body FROM note WHERE id = $1`, 10_000+i); err != nil {
						return err
					}
					answers = append(answers, a)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, a := range answers {
			n := 0
			for row, err := range a.Rows() {
				var body []byte
				if err == nil {
					err = row.Scan(&body)
				}
				if err != nil || !bytes.Equal(body, large) {
					t.Fatalf("answer %d: got %d bytes (%v)", i, len(body), err)
				}
				n++
			}
			if n != 1 {
				t.Fatalf("answer %d: got %d rows, want 1", i, n)
			}
		}
		if got := len(words(t, d)); got != 3012 {
			t.Errorf("got %d rows, want 3012", got)
		}
	}, notes)
}

// TestManyTexts: the statements that a connection remembers are bounded.
func TestManyTexts(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range 1200 {
				if err := tx.Queue(fmt.Sprintf(`INSERT INTO note (id, word, read) VALUES ($1, 'w%d', TRUE)`, i), i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := len(words(t, d)); got != 1200 {
			t.Errorf("got %d rows, want 1200", got)
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			for i := range 1200 {
				var n int
				if err := tx.Row(fmt.Sprintf(`SELECT COUNT(*) FROM note WHERE word = 'w%d'`, i)).Scan(&n); err != nil || n != 1 {
					return fmt.Errorf("%d: %d rows: %w", i, n, err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}, notes)
}

// TestAnswerOfWhatWasNotKept: there is none.
func TestAnswerOfWhatWasNotKept(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "postgres"), notes)
	var a *db.Answer
	sour := errors.New("sour")
	if err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
		a, err = tx.Ask(`INSERT INTO note (id, word, read) VALUES (1, 'x', TRUE)`)
		return errors.Join(err, sour)
	}); !errors.Is(err, sour) {
		t.Errorf("got %v, want its own error", err)
	}
	if n, err := a.Changed(); err == nil {
		t.Errorf("got %d rows changed by what was not kept", n)
	}
}

// TestPanicInTheLoopOfAQuery fails the request alone.
func TestPanicInTheLoopOfAQuery(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		errs := group(t, d,
			func(tx *db.Tx) error { return later(tx, 1, "one") },
			func(tx *db.Tx) error {
				if err := later(tx, 2, "two"); err != nil {
					return err
				}
				for range tx.Query(`SELECT id FROM note`) {
					panic("boom")
				}
				return nil
			},
			func(tx *db.Tx) error { return later(tx, 3, "three") })
		if errs[0] != nil || errs[2] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "boom") {
			t.Errorf("got %v, want only the panic", errs)
		}
		if got := fmt.Sprint(words(t, d)); got != "[one three]" {
			t.Errorf("got %s, want [one three]", got)
		}
	}, notes)
}

func TestPeek(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 1, "one") }); err != nil {
			t.Fatal(err)
		}
		err := d.Peek(t.Context(), func(tx *db.Tx) error {
			var w string
			if err := tx.Row(`SELECT word FROM note WHERE id = $1`, 1).Scan(&w); err != nil || w != "one" {
				t.Errorf("got %q %v, want one", w, err)
			}
			if err := tx.Row(`SELECT word FROM note WHERE id = $1`, 1).Scan(&w); err == nil {
				t.Error("a second statement was accepted")
			}
			if tx.Queue(`DELETE FROM note`) == nil {
				t.Error("it could write")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		d.Close()
		if err := d.Peek(t.Context(), func(*db.Tx) error { return nil }); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("closed: got %v", err)
		}
	}, notes)
}
