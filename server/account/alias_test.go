package account_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestNumbers: numbers follow the order of making, are never given twice, and
// come to accounts that were made before there were numbers.
func TestNumbers(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			before := account.Schema
			before.Changes = nil
			d, err := db.Open(t.Context(), cfg, before)
			if err != nil {
				t.Fatal(err)
			}
			update(t, d, func(tx *db.Tx) error {
				_, err := tx.Exec(`INSERT INTO account (name, password, created, closed) VALUES ('zoe', '', 1, NULL), ('bob', '', 2, 3), ('abe', '', 2, NULL)`)
				return err
			})
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, err = db.Open(t.Context(), cfg, account.Schema); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			// The version before does not touch it.
			if _, err := db.Open(t.Context(), cfg, before); err == nil || !strings.Contains(err.Error(), "the store was written by a newer version of this program (account is at") {
				t.Errorf("the version before: got %v, want a refusal", err)
			}
			d = stores.Open(t, cfg, account.Schema)
			update(t, d, func(tx *db.Tx) error {
				if err := account.Create(tx, "new", account.PasswordHash{}); err != nil {
					return err
				}
				return account.Close(tx, "new")
			})
			update(t, d, func(tx *db.Tx) error { return account.Create(tx, "newer", account.PasswordHash{}) })
			if err := d.View(t.Context(), func(tx *db.Tx) error {
				for i, name := range []account.Name{"zoe", "abe", "bob", "new", "newer"} {
					if n, err := account.Number(tx, name); n != int64(i+1) || err != nil {
						t.Errorf("%s: got %d, %v, want %d", name, n, err, i+1)
					}
					if got, err := account.ByNumber(tx, int64(i+1)); got != name || err != nil {
						t.Errorf("number %d: got %q, %v, want %s", i+1, got, err, name)
					}
				}
				if _, err := account.Number(tx, "nobody"); quinta.KindOf(err) != quinta.KindNotFound {
					t.Errorf("no one: got %v", err)
				}
				if _, err := account.ByNumber(tx, 6); quinta.KindOf(err) != quinta.KindNotFound {
					t.Errorf("number 6: got %v", err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAliases(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		set := func(network quinta.NetworkName, value string, name account.Name) error {
			return d.Update(t.Context(), func(tx *db.Tx) error { return account.SetAlias(tx, network, value, name) })
		}
		update(t, d, func(tx *db.Tx) error {
			return errors.Join(account.Create(tx, "alice", account.PasswordHash{}), account.Create(tx, "bob", account.PasswordHash{}),
				account.Create(tx, "gone", account.PasswordHash{}), account.Close(tx, "gone"))
		})
		for _, c := range []struct {
			network quinta.NetworkName
			value   string
			name    account.Name
			want    quinta.Kind
		}{
			{"n", "+1555", "alice", 0},
			{"n", "+1555", "alice", 0},
			{"n", "+1000", "alice", 0},
			{"m", "+1555", "bob", 0},
			{"n", "+1555", "bob", quinta.KindExists},
			{"n", "", "bob", quinta.KindInvalid},
			{"n", strings.Repeat("x", 256), "bob", quinta.KindInvalid},
			{"n", "+2", "nobody", quinta.KindNotFound},
			{"n", "+2", "gone", quinta.KindNotFound},
		} {
			err := set(c.network, c.value, c.name)
			if c.want == 0 && err != nil || c.want != 0 && quinta.KindOf(err) != c.want {
				t.Errorf("%s %.10q %s: got %v, want %v", c.network, c.value, c.name, err, c.want)
			}
		}
		of := func(network quinta.NetworkName, value string) (name account.Name) {
			if err := d.View(t.Context(), func(tx *db.Tx) (err error) {
				name, err = account.ByAlias(tx, network, value)
				if quinta.KindOf(err) == quinta.KindNotFound {
					name, err = "-", nil
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return name
		}
		if a, b, c := of("n", "+1555"), of("m", "+1555"), of("m", "+1000"); a != "alice" || b != "bob" || c != "-" {
			t.Errorf("got %s, %s, %s", a, b, c)
		}
		var list []string
		update(t, d, func(tx *db.Tx) (err error) { list, err = account.Aliases(tx, "n", "alice"); return err })
		if !slices.Equal(list, []string{"+1000", "+1555"}) {
			t.Errorf("got %q", list)
		}
		update(t, d, func(tx *db.Tx) error { return account.RemoveAlias(tx, "n", "+1555") })
		if err := set("n", "+1555", "bob"); err != nil || of("n", "+1555") != "bob" {
			t.Errorf("an alias that was removed: got %v, %s", err, of("n", "+1555"))
		}
	}, account.Schema)
}

func TestCodes(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			now := time.UnixMilli(1_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return now }
			d := stores.Open(t, cfg, account.Schema)
			update(t, d, func(tx *db.Tx) error {
				return errors.Join(account.Create(tx, "alice", account.PasswordHash{}), account.Create(tx, "bob", account.PasswordHash{}))
			})
			code := func() (c string) {
				update(t, d, func(tx *db.Tx) (err error) { c, err = account.NewCode(tx, rand.Reader, "n", "alice"); return err })
				if len(c) != account.CodeLength || strings.Trim(c, "0123456789") != "" {
					t.Fatalf("got a code of the form %q", strings.Map(func(r rune) rune { return 'x' }, c))
				}
				return c
			}
			use := func(network quinta.NetworkName, name account.Name, c string) (right bool) {
				update(t, d, func(tx *db.Tx) (err error) { right, err = account.UseCode(tx, network, name, c); return err })
				return right
			}
			wrong := func(c string) string { return string('0'+('9'-c[0])) + c[1:] }

			c := code()
			if use("m", "alice", c) || use("n", "bob", c) || use("n", "alice", "") || use("n", "alice", c+"0") {
				t.Error("a code was right on another network, for another account, or in part")
			}
			if !use("n", "alice", c) || use("n", "alice", c) {
				t.Error("a code is not right once")
			}
			c = code()
			for range account.CodeTries - 1 {
				if use("n", "alice", wrong(c)) {
					t.Error("a wrong code is right")
				}
			}
			if !use("n", "alice", c) {
				t.Error("the last try does not count")
			}
			c = code()
			for range account.CodeTries {
				use("n", "alice", wrong(c))
			}
			if use("n", "alice", c) {
				t.Error("a code is right after its last try")
			}
			older, newer := code(), code()
			if older != newer && use("n", "alice", older) || !use("n", "alice", newer) {
				t.Error("a new code does not take the place of the one before")
			}
			c = code()
			now = now.Add(account.CodeLife * time.Millisecond)
			if use("n", "alice", c) {
				t.Error("a code is right after its life")
			}
			code()
			now = now.Add(account.CodeLife*time.Millisecond - 1)
			rows := func() (n int) {
				update(t, d, func(tx *db.Tx) error {
					if _, err := account.SweepCodes(tx, 10); err != nil {
						return err
					}
					return tx.Row(`SELECT COUNT(*) FROM account_code`).Scan(&n)
				})
				return n
			}
			if rows() != 1 {
				t.Error("a code was removed within its life")
			}
			if now = now.Add(1); rows() != 0 {
				t.Error("a code was not removed after its life")
			}
			code()
			update(t, d, func(tx *db.Tx) error { return account.Close(tx, "alice") })
			if rows() != 0 {
				t.Error("the code of a closed account stays")
			}
			if err := d.Update(t.Context(), func(tx *db.Tx) error { _, err := account.NewCode(tx, rand.Reader, "n", "alice"); return err }); quinta.KindOf(err) != quinta.KindNotFound {
				t.Errorf("a code for a closed account: got %v", err)
			}
		})
	}
}
