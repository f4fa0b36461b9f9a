package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

var notes = db.Schema{Set: "notes", Base: `
-- one row a note
CREATE TABLE note (id BIGINT PRIMARY KEY, word TEXT NOT NULL, body BYTEA, read BOOLEAN NOT NULL);
CREATE INDEX note_word ON note (word) WHERE read`}

func put(tx *db.Tx, id int64, word string) error {
	_, err := tx.Exec(`INSERT INTO note (id, word, body, read) VALUES ($1, $2, $3, $4)`, id, word, []byte(word), id%2 == 0)
	return err
}

func words(t *testing.T, d *db.DB) []string {
	t.Helper()
	var out []string
	err := d.View(t.Context(), func(tx *db.Tx) error {
		for row, err := range tx.Query(`SELECT word FROM note ORDER BY id`) {
			if err != nil {
				return err
			}
			var w string
			if err := row.Scan(&w); err != nil {
				return err
			}
			out = append(out, w)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadBack(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		type word string
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			// Parameters may be used out of order and twice.
			_, err := tx.Exec(`INSERT INTO note (word, id, body, read) VALUES ($2, $1, $3, $4)`, quinta.Pos(7), word("séven $1 ?"), nil, true)
			if err != nil {
				return err
			}
			return put(tx, 8, "eight")
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			var (
				id   quinta.Pos
				w    word
				body []byte
				read bool
				opt  *string
			)
			if err := tx.Row(`SELECT id, word, body, read, NULL FROM note WHERE id = $1 AND word <> $2 AND id = $1`, 7, "x").Scan(&id, &w, &body, &read, &opt); err != nil {
				return err
			}
			if id != 7 || w != "séven $1 ?" || body != nil || !read || opt != nil {
				t.Errorf("got %v %q %q %v %v", id, w, body, read, opt)
			}
			if err := tx.Row(`SELECT body, word FROM note WHERE id = 8`).Scan(&body, &opt); err != nil {
				return err
			}
			if !bytes.Equal(body, []byte("eight")) || opt == nil || *opt != "eight" {
				t.Errorf("got %q %v, want eight twice", body, opt)
			}
			if err := tx.Row(`SELECT body FROM note WHERE id = 9`).Scan(&body); !errors.Is(err, db.ErrNoRows) {
				t.Errorf("no row: got %v, want ErrNoRows", err)
			}
			var s string
			if err := tx.Row(`SELECT NULL FROM note WHERE id = 8`).Scan(&s); err == nil {
				t.Error("NULL scanned into a string without an error")
			}
			if _, err := tx.Exec(`DELETE FROM note`); err == nil {
				t.Error("a view could write")
			}
			for _, err := range tx.Query(`SELECT id FROM note`) {
				if err != nil {
					return err
				}
				if err := tx.Row(`SELECT 1`).Scan(&id); err == nil {
					t.Error("a statement inside the loop of a query was accepted")
				}
				break
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}, notes)
}

func TestOneFailsAlone(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		var wg sync.WaitGroup
		sour := errors.New("sour")
		for i := range 60 {
			wg.Go(func() {
				err := d.Update(context.Background(), func(tx *db.Tx) error {
					if err := put(tx, int64(i), fmt.Sprint(i)); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return sour
					case 2:
						panic("boom")
					}
					return nil
				})
				switch {
				case i%3 == 0 && err != nil:
					t.Errorf("%d: %v", i, err)
				case i%3 == 1 && !errors.Is(err, sour):
					t.Errorf("%d: got %v, want its own error", i, err)
				case i%3 == 2 && (err == nil || !strings.Contains(err.Error(), "boom")):
					t.Errorf("%d: got %v, want the panic", i, err)
				}
			})
		}
		wg.Wait()
		if got := words(t, d); len(got) != 20 {
			t.Errorf("got %d rows, want the 20 of those who did not fail", len(got))
		}
		if s := d.Stats(); s.Requests != 60 || s.Commits == 0 || s.Commits > 60 {
			t.Errorf("got %+v, want 60 requests in at most 60 commits", s)
		}
	}, notes)
}

func TestSQLErrorIsUndone(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			if err := put(tx, 1, "one"); err != nil {
				return err
			}
			return put(tx, 1, "one again")
		})
		if err == nil {
			t.Error("a second row with the same key was accepted")
		}
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 2, "two") }); err != nil {
			t.Fatal(err)
		}
		if got := words(t, d); len(got) != 1 || got[0] != "two" {
			t.Errorf("got %q, want only two", got)
		}
	}, notes)
}

func TestPositionsAreOneOrder(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if err := d.Update(context.Background(), func(tx *db.Tx) error { return put(tx, int64(tx.NextPos()), "x") }); err != nil {
					t.Error(err)
				}
			})
		}
		// A reader that has seen a position has seen all before it.
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			if err := d.View(context.Background(), func(tx *db.Tx) error {
				pos, err := tx.Pos()
				if err != nil {
					return err
				}
				var n quinta.Pos
				if err := tx.Row(`SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
					return err
				}
				if n != pos {
					return fmt.Errorf("at position %d there are %d rows", pos, n)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}, notes)
}

func TestTwoNodesWriteInOneOrder(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	a, b := stores.Open(t, cfg, notes), stores.Open(t, cfg, notes)
	heard := make(chan string, 100)
	b.Subscribe(func(keys []string) {
		for _, k := range keys {
			heard <- k
		}
	})
	var wg sync.WaitGroup
	for i := range 60 {
		d := []*db.DB{a, b}[i%2]
		wg.Go(func() {
			if err := d.Update(context.Background(), func(tx *db.Tx) error { return put(tx, int64(tx.NextPos()), "x") }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(words(t, b)); got != 60 {
		t.Errorf("got %d rows, want 60", got)
	}
	if err := a.Update(t.Context(), func(tx *db.Tx) error { tx.Wake("hello"); return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case k := <-heard:
		if k != "hello" {
			t.Errorf("got key %q, want hello", k)
		}
	case <-time.After(time.Minute):
		t.Error("the other node was not woken")
	}
}

func TestRefusesTextThatOneEngineCannotHold(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		for _, s := range []string{"a\x00b", "\xff"} {
			err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 1, s) })
			if quinta.KindOf(err) != quinta.KindInvalid {
				t.Errorf("%q: got %v, want an invalid name", s, err)
			}
		}
	}, notes)
}

func TestWakeOnlyAfterCommit(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		var keys atomic.Int64
		d.Subscribe(func(k []string) { keys.Add(int64(len(k))) })
		work := func(fail bool) error {
			return d.Update(context.Background(), func(tx *db.Tx) error {
				tx.Wake("k")
				if fail {
					return errors.New("no")
				}
				return put(tx, 1, "one")
			})
		}
		if err := work(true); err == nil {
			t.Error("no error")
		}
		if err := work(false); err != nil {
			t.Fatal(err)
		}
		if keys.Load() != 1 {
			t.Errorf("got %d wake-ups, want one", keys.Load())
		}
	}, notes)
}

func TestMigration(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			open := func(s db.Schema) (*db.DB, error) { return db.Open(t.Context(), cfg, s) }
			d, err := open(notes)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 1, "kept") }); err != nil {
				t.Fatal(err)
			}
			d.Close()

			bad := notes
			bad.Changes = []string{`ALTER TABLE note ADD COLUMN lost TEXT; CREATE TABLE note (id BIGINT)`}
			if _, err := open(bad); err == nil {
				t.Fatal("a change that cannot be made was accepted")
			}
			next := notes
			next.Changes = []string{`ALTER TABLE note ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'; UPDATE note SET author = 'me'`}
			if d, err = open(next); err != nil {
				t.Fatal(err)
			}
			if err := d.View(t.Context(), func(tx *db.Tx) error {
				var w, a string
				err := tx.Row(`SELECT word, author FROM note`).Scan(&w, &a)
				if w != "kept" || a != "me" {
					t.Errorf("got %q by %q", w, a)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if engine == "postgres" {
				if err := d.View(t.Context(), func(tx *db.Tx) error {
					var n int
					err := tx.Row(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema LIKE 'before_%' AND table_name = 'note'`).Scan(&n)
					if n == 0 {
						t.Error("no copy of the table was kept")
					}
					return err
				}); err != nil {
					t.Fatal(err)
				}
			} else if m, _ := filepath.Glob(cfg.Path + ".before-*"); len(m) == 0 {
				t.Error("no copy of the store was kept")
			}
			d.Close()

			if _, err := open(notes); err == nil || !strings.Contains(err.Error(), "newer version") {
				t.Errorf("got %v, want that the store is of a newer version", err)
			}
			if d, err = open(next); err != nil {
				t.Fatalf("after the refusal: %v", err)
			}
			d.Close()
		})
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		cfg := stores.Config(t, "sqlite")
		var full atomic.Bool
		cfg.Faults = func(op string) error {
			if full.Load() {
				return cause
			}
			return nil
		}
		d := stores.Open(t, cfg, notes)
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 1, "before") }); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 2, strings.Repeat("x", 100000)) })
		if k := quinta.KindOf(err); k != quinta.KindFull && k != quinta.KindUnavailable {
			t.Errorf("%v: got %v, want full or unavailable", cause, err)
		}
		full.Store(false)
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, 3, "after") }); err != nil {
			t.Fatalf("%v: after there was room again: %v", cause, err)
		}
		if got := words(t, d); fmt.Sprint(got) != "[before after]" {
			t.Errorf("%v: got %.80q, want before and after", cause, got)
		}
	}
}

func TestOpenErrorsAreClear(t *testing.T) {
	t.Parallel()
	damaged := stores.Config(t, "sqlite")
	if err := os.WriteFile(damaged.Path, bytes.Repeat([]byte("not a store "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := stores.Config(t, "sqlite")
	nowhere.Path = filepath.Join(nowhere.Path, "missing", "quinta.db")
	away := db.Config{Now: time.Now, URL: "postgres://someone:hunter2@127.0.0.1:1/none"}
	wrong := db.Config{Now: time.Now, URL: "postgres://someone:hunter2@127.0.0.1:x/none"}
	for name, c := range map[string]struct {
		cfg  db.Config
		want string
	}{
		"damaged":   {damaged, "damaged"},
		"no folder": {nowhere, "cannot be opened"},
		"away":      {away, "does not answer"},
		"bad URL":   {wrong, "not valid"},
	} {
		_, err := db.Open(t.Context(), c.cfg, notes)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want a line with %q and no password", name, err, c.want)
		}
	}
}

func TestBackupWhileWriting(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "sqlite"), notes)
	for i := range 100 {
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return put(tx, int64(i), "x") }); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "it's a copy.db")
	if err := d.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := d.Backup(t.Context(), path); err == nil {
		t.Error("a backup overwrote a file")
	}
	c := stores.Open(t, db.Config{Path: path, Now: time.Now}, notes)
	if got := len(words(t, c)); got != 100 {
		t.Errorf("the copy has %d rows, want 100", got)
	}
}

// TestNothingStaysInTheFile: what was deleted or replaced is gone from the
// bytes on the disk, once the log was copied into the file.
func TestNothingStaysInTheFile(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "sqlite")
	d := stores.Open(t, cfg, notes)
	do := func(fn func(tx *db.Tx) error) {
		t.Helper()
		if err := d.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	const deleted, replaced, left = "a word that was deleted", "a word that was replaced", "a word that is left"
	do(func(tx *db.Tx) error {
		for i, w := range []string{deleted, replaced, left} {
			// Long enough for pages of their own as well.
			if err := put(tx, int64(i), strings.Repeat(w+" ", 500)); err != nil {
				return err
			}
		}
		return nil
	})
	do(func(tx *db.Tx) error { _, err := tx.Exec(`DELETE FROM note WHERE id = 0`); return err })
	do(func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE note SET word = '', body = NULL WHERE id = 1`)
		return err
	})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(cfg.Path + "*")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(raw, []byte(left))
		for _, w := range []string{deleted, replaced} {
			if bytes.Contains(raw, []byte(w)) {
				t.Errorf("%s has %q", filepath.Base(f), w)
			}
		}
	}
	if !found {
		t.Error("the word that is left was not found either: the test looks in the wrong place")
	}
}

func TestClosed(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		d.Close()
		if err := d.Update(t.Context(), func(*db.Tx) error { return nil }); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("update: got %v", err)
		}
		if err := d.View(t.Context(), func(*db.Tx) error { return nil }); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("view: got %v", err)
		}
	}, notes)
}

func BenchmarkUpdate(b *testing.B) {
	d, err := db.Open(b.Context(), stores.Config(b, "sqlite"), notes)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.SetParallelism(32)
	body := bytes.Repeat([]byte("x"), 1000)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := d.Update(context.Background(), func(tx *db.Tx) error {
				_, err := tx.Exec(`INSERT INTO note (id, word, body, read) VALUES ($1, $2, $3, $4)`, tx.NextPos(), "bench", body, true)
				return err
			}); err != nil {
				b.Error(err)
			}
		}
	})
	s := d.Stats()
	b.ReportMetric(float64(s.Syncs)/float64(s.Requests), "fsyncs/op")
}
