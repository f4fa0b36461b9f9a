package account_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// hasher is the hasher of these tests.
var hasher = account.NewHasher(4, account.DefaultCost)

func hash(t *testing.T, password string) account.PasswordHash {
	t.Helper()
	h, err := hasher.Hash(rand.Reader, password)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func update(t *testing.T, d *db.DB, fn func(*db.Tx) error) {
	t.Helper()
	if err := d.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "alice", "a.b_c=d-e/f+1", strings.Repeat("x", account.MaxName)} {
		if n, err := account.ParseName(s); err != nil || string(n) != s {
			t.Errorf("%q: got %q, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "Alice", "a b", "a:b", "@a", "é", "a\x00", "a\n", strings.Repeat("x", account.MaxName+1)} {
		if _, err := account.ParseName(s); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%q: got %v, want invalid", s, err)
		}
	}
}

func TestPasswords(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		h := hash(t, "secret word")
		update(t, d, func(tx *db.Tx) error { return account.Create(tx, "alice", h) })
		stored := func(name account.Name) account.PasswordHash {
			var h account.PasswordHash
			if err := d.View(t.Context(), func(tx *db.Tx) (err error) { h, err = account.Stored(tx, name); return err }); err != nil {
				t.Fatal(err)
			}
			return h
		}
		if !hasher.Matches(stored("alice"), "secret word") {
			t.Error("the right password does not match")
		}
		for _, p := range []string{"", "secret", "secret word ", strings.Repeat("x", 5000)} {
			if hasher.Matches(stored("alice"), p) || hasher.Matches(stored("nobody"), p) {
				t.Errorf("password %.20q matches", p)
			}
		}
		update(t, d, func(tx *db.Tx) error { return account.SetPassword(tx, "alice", hash(t, "new")) })
		if hasher.Matches(stored("alice"), "secret word") || !hasher.Matches(stored("alice"), "new") {
			t.Error("after the change: the old password matches, or the new one does not")
		}
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return account.SetPassword(tx, "nobody", h) }); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("password of no one: got %v", err)
		}
	}, account.Schema)
}

// TestDigests: a hash verifies the SHA-256 of the password too; one of an
// earlier version does so only after it was replaced.
func TestDigests(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		sum := sha256.Sum256([]byte("pass"))
		digest := hex.EncodeToString(sum[:])
		salt := make([]byte, 16)
		old := fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s", base64.RawStdEncoding.EncodeToString(salt),
			base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("pass"), salt, 1, 8, 1, 32)))
		update(t, d, func(tx *db.Tx) error {
			if err := account.Create(tx, "alice", hash(t, "pass")); err != nil {
				return err
			}
			if err := account.Create(tx, "bob", account.PasswordHash{}); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE account SET password = $1 WHERE name = 'bob'`, old)
			return err
		})
		stored := func(name account.Name) (h account.PasswordHash) {
			if err := d.View(t.Context(), func(tx *db.Tx) (err error) { h, err = account.Stored(tx, name); return err }); err != nil {
				t.Fatal(err)
			}
			return h
		}
		check := func(name account.Name, outdated, byDigest bool) {
			t.Helper()
			h := stored(name)
			if h.Outdated() != outdated {
				t.Errorf("%s: outdated: got %v", name, h.Outdated())
			}
			if !hasher.Matches(h, "pass") || hasher.Matches(h, digest) || hasher.Matches(h, "Pass") {
				t.Errorf("%s: a password in clear is not judged as it should be", name)
			}
			if got := hasher.MatchesDigest(h, digest); got != byDigest {
				t.Errorf("%s by digest: got %v, want %v", name, got, byDigest)
			}
			for _, bad := range []string{"", "pass", strings.ToUpper(digest), digest + "0", strings.Repeat("0", 64)} {
				if hasher.MatchesDigest(h, bad) {
					t.Errorf("%s: the digest %.10q matches", name, bad)
				}
			}
		}
		check("alice", false, true)
		check("bob", true, false)
		// Not over a password that was changed meanwhile.
		update(t, d, func(tx *db.Tx) error { return account.Replace(tx, "bob", stored("alice"), hash(t, "other")) })
		check("bob", true, false)
		was := stored("bob")
		update(t, d, func(tx *db.Tx) error { return account.Replace(tx, "bob", was, hash(t, "pass")) })
		check("bob", false, true)
	}, account.Schema)
}

func TestPasswordsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", strings.Repeat("x", account.MaxPassword+1)} {
		if _, err := hasher.Hash(rand.Reader, p); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%d bytes: got %v, want invalid", len(p), err)
		}
	}
	if _, err := hasher.Hash(strings.NewReader("short"), "password"); err == nil {
		t.Error("a salt was made without randomness")
	}
}

func TestPasswordHashDoesNotPrint(t *testing.T) {
	t.Parallel()
	h := hash(t, "hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "hash", h)
	out := fmt.Sprintf("%v %+v %#v %s %q %x", h, h, h, h, h, h) + log.String()
	if strings.Contains(out, "argon2") || strings.Contains(out, "$") {
		t.Errorf("a hash was printed: %s", out)
	}
	if _, err := json.Marshal(h); err == nil {
		t.Error("a hash was marshalled")
	}
	if _, err := json.Marshal(map[string]any{"h": &h}); err == nil {
		t.Error("a pointer to a hash was marshalled")
	}
}

func TestLifeOfAnAccount(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		h := hash(t, "x")
		update(t, d, func(tx *db.Tx) error {
			for _, n := range []account.Name{"carol", "alice", "bob"} {
				if err := account.Create(tx, n, h); err != nil {
					return err
				}
			}
			return account.SetProfile(tx, "alice", "displayname", []byte(`"A"`))
		})
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return account.Create(tx, "bob", h) }); !errors.Is(err, account.ErrTaken) {
			t.Errorf("taken: got %v", err)
		}
		update(t, d, func(tx *db.Tx) error { return account.Close(tx, "alice") })
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return account.Create(tx, "alice", h) }); !errors.Is(err, account.ErrTaken) {
			t.Errorf("the name of a closed account: got %v, want taken", err)
		}
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return account.Close(tx, "alice") }); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("closed twice: got %v", err)
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			list, err := account.List(tx, "", 2)
			if err != nil {
				return err
			}
			if len(list) != 2 || list[0].Name != "alice" || !list[0].Closed || list[1].Name != "bob" || list[1].Closed || !list[1].HasPassword {
				t.Errorf("first page: got %+v", list)
			}
			list, err = account.List(tx, "bob", 2)
			if len(list) != 1 || list[0].Name != "carol" {
				t.Errorf("second page: got %+v", list)
			}
			if err != nil {
				return err
			}
			if p, err := account.Profile(tx, "alice"); err != nil || len(p) != 0 {
				t.Errorf("profile of a closed account: got %v, %v", p, err)
			}
			if ok, err := account.Exists(tx, "alice"); ok || err != nil {
				t.Errorf("exists: got %v, %v", ok, err)
			}
			if ok, err := account.Taken(tx, "alice"); !ok || err != nil {
				t.Errorf("taken: got %v, %v", ok, err)
			}
			if _, err := account.Get(tx, "nobody"); quinta.KindOf(err) != quinta.KindNotFound {
				t.Errorf("no one: got %v", err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}, account.Schema)
}

func TestInvites(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		var twice, old, endless string
		update(t, d, func(tx *db.Tx) (err error) {
			if twice, err = account.NewInvite(tx, rand.Reader, account.Invite{Uses: 2}); err != nil {
				return err
			}
			if old, err = account.NewInvite(tx, rand.Reader, account.Invite{Expires: tx.Millis() - 1}); err != nil {
				return err
			}
			endless, err = account.NewInvite(tx, rand.Reader, account.Invite{})
			return err
		})
		use := func(token string) error {
			return d.Update(t.Context(), func(tx *db.Tx) error { return account.UseInvite(tx, token) })
		}
		for i, want := range []bool{true, true, false} {
			if err := use(twice); (err == nil) != want {
				t.Errorf("use %d of two: got %v", i+1, err)
			}
		}
		for range 5 {
			if err := use(endless); err != nil {
				t.Errorf("endless: %v", err)
			}
		}
		for _, token := range []string{old, "", "made up"} {
			if err := use(token); quinta.KindOf(err) != quinta.KindForbidden {
				t.Errorf("got %v, want forbidden", err)
			}
		}
	}, account.Schema)
}

// TestCost: a hash is made at the cost that was requested, which is that of
// OWASP by default, and one of another cost still matches.
func TestCost(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		cheap := account.NewHasher(1, account.Cost{Memory: 64, Passes: 1})
		for want, h := range map[string]*account.Hasher{"m=19456,t=2,p=1": hasher, "m=64,t=1,p=1": cheap} {
			name := account.Name("cost" + want[2:4])
			made, err := h.Hash(rand.Reader, "pass")
			if err != nil {
				t.Fatal(err)
			}
			var kept string
			var stored account.PasswordHash
			update(t, d, func(tx *db.Tx) error {
				if err := account.Create(tx, name, made); err != nil {
					return err
				}
				if err := tx.Row(`SELECT password FROM account WHERE name = $1`, name).Scan(&kept); err != nil {
					return err
				}
				stored, err = account.Stored(tx, name)
				return err
			})
			if !strings.Contains(kept, "$"+want+"$") {
				t.Errorf("got a hash of another cost, want %s", want)
			}
			if !hasher.Matches(stored, "pass") || !cheap.Matches(stored, "pass") || cheap.Matches(stored, "other") {
				t.Errorf("%s: hashers of other costs do not agree on it", want)
			}
		}
	}, account.Schema)
}
