package sqlite_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/client/store/storetest"
	"github.com/quinta-chat/quinta/e2ee"
)

func newKey(t *testing.T) sqlite.Key {
	t.Helper()
	k, err := sqlite.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, path string, key sqlite.Key) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) client.Store {
		return open(t, filepath.Join(t.TempDir(), "a store?#%.db"), newKey(t))
	})
}

func set(t *testing.T, s *sqlite.Store, v string) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx e2ee.Tx) error { return tx.Put("k", []byte(v)) }); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *sqlite.Store) string {
	t.Helper()
	var got string
	if err := s.View(t.Context(), func(tx e2ee.Tx) error { v, err := tx.Get("k"); got = string(v); return err }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReopen(t *testing.T) {
	t.Parallel()
	path, key := filepath.Join(t.TempDir(), "s.db"), newKey(t)
	s := open(t, path, key)
	set(t, s, "kept")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, open(t, path, key)); got != "kept" {
		t.Errorf("got %q, want kept", got)
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	path, key := filepath.Join(t.TempDir(), "s.db"), newKey(t)
	s := open(t, path, key)
	set(t, s, "kept")
	s.Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(path, newKey(t)); !errors.Is(err, sqlite.ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
	}
	if _, err := sqlite.Open(path, sqlite.Key{}); err == nil {
		t.Error("opened without a key")
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("a wrong key changed the file (%v)", err)
	}
	if got := get(t, open(t, path, key)); got != "kept" {
		t.Errorf("got %q, want kept", got)
	}
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	path, key := filepath.Join(t.TempDir(), "s.db"), newKey(t)
	s := open(t, path, key)
	if _, err := sqlite.Open(path, key); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	set(t, s, "still mine")
	s.Close()
	open(t, path, key)
}

func TestNothingInClear(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), newKey(t)
	path := filepath.Join(dir, "s.db")
	s := open(t, path, key)
	const canary = "canary-7f3a-secret-words-that-are-searched-for"
	look := func(when string) {
		t.Helper()
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatal(err, len(files))
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(canary)) || bytes.Contains(b, []byte("SQLite format")) || bytes.Contains(b, []byte("CREATE TABLE")) {
				t.Errorf("%s: %s holds clear text", when, f.Name())
			}
			if st, err := f.Info(); err != nil || st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s can be read by others: %v, %v", when, f.Name(), st.Mode(), err)
			}
		}
	}
	if err := s.Update(t.Context(), func(tx e2ee.Tx) error {
		return tx.Put(canary, []byte(strings.Repeat(canary, 1000)))
	}); err != nil {
		t.Fatal(err)
	}
	look("open")
	s.Close()
	look("closed")
}

func TestPassphrase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	key := func(p string) sqlite.Key {
		t.Helper()
		k, err := sqlite.PassphraseKey(path, p, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	s := open(t, path, key("open sesame"))
	set(t, s, "kept")
	s.Close()
	if _, err := sqlite.Open(path, key("open barley")); !errors.Is(err, sqlite.ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
	}
	s = open(t, path, key("open sesame"))
	if got := get(t, s); got != "kept" {
		t.Errorf("got %q, want kept", got)
	}
	s.Close()
	if _, err := sqlite.PassphraseKey(path, "", rand.Reader); err == nil {
		t.Error("an empty passphrase was accepted")
	}
	if err := os.WriteFile(path+".kdf", []byte(`{"algorithm":"argon2id","salt":"AAAAAAAAAAA=","memory_kib":4000000000,"time":1,"threads":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.PassphraseKey(path, "open sesame", rand.Reader); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a bomb of memory: got %v, want that the file is damaged", err)
	}
	if err := os.Remove(path + ".kdf"); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.PassphraseKey(path, "open sesame", rand.Reader); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v, want that the file is missing", err)
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := sqlite.KeyFile(path, rand.Reader); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.KeyFile(path, strings.NewReader("")); err != nil {
		t.Errorf("the second time: %v", err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("A", 44), string(b) + "x", strings.Repeat("!", 44)} {
		if _, err := sqlite.ParseKey(bad); err == nil || (bad != "" && strings.Contains(err.Error(), bad)) {
			t.Errorf("key %q: got %v, want an error that does not repeat it", bad, err)
		}
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	t.Parallel()
	k, err := sqlite.ParseKey(strings.Repeat("QUJD", 10) + "QUI=")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "in", struct{ K sqlite.Key }{k})
	out := fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, struct{ K sqlite.Key }{k}) + log.String()
	for _, secret := range []string{"ABC", "QUJD", "414243", "65 66 67"} {
		if strings.Contains(out, secret) {
			t.Errorf("a key was printed: %s", out)
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a key was marshalled")
	}
}
