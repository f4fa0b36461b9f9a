package server_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
)

// open opens a core on a store of its own.
func open(t *testing.T, cfg server.Config) *server.Core {
	t.Helper()
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// upload stores a file and returns its id.
func upload(t *testing.T, c *server.Core, content string) string {
	t.Helper()
	w, err := c.Blobs.Write(t.Context(), strings.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Blobs.NewID()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), func(tx *db.Tx) error {
		return blob.Put(tx, blob.Blob{ID: id, Owner: "matrix @alice:hs1", Bytes: w})
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// read returns a file, or an error.
func read(ctx context.Context, c *server.Core, id string) (string, error) {
	var b blob.Blob
	if err := c.View(ctx, func(tx *db.Tx) (err error) {
		b, err = blob.Get(tx, id)
		return err
	}); err != nil {
		return "", err
	}
	r := c.Blobs.Reader(ctx, b.Bytes)
	defer r.Close()
	got, err := io.ReadAll(r)
	return string(got), err
}

func position(t *testing.T, c *server.Core) (p quinta.Pos) {
	t.Helper()
	if err := c.View(t.Context(), func(tx *db.Tx) (err error) { p, err = tx.Pos(); return err }); err != nil {
		t.Fatal(err)
	}
	return p
}

func take(t *testing.T, c *server.Core) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Backup(t.Context(), t.TempDir(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	if err := c.AddAccount(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	contents := []string{"one", "", strings.Repeat("long ", 50_000)}
	for _, s := range contents {
		ids = append(ids, upload(t, c, s))
	}
	backup := take(t, c)

	// What happens afterwards is not in it.
	if err := c.AddAccount(t.Context(), "bob", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), func(tx *db.Tx) error { return blob.Remove(tx, ids[0]) }); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := c.Update(t.Context(), func(tx *db.Tx) error { tx.NextPos(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	later := position(t, c)

	cfg := config(t)
	head, err := server.Restore(t.Context(), cfg, nil, bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	if head.Name != "hs1" || head.Created == 0 {
		t.Errorf("got the head %+v", head)
	}
	r := open(t, cfg)
	as, err := r.Accounts(t.Context(), "", 10)
	if err != nil || len(as) != 1 || as[0].Name != "alice" {
		t.Errorf("got the accounts %v, %v: want alice alone", as, err)
	}
	for i, id := range ids {
		if got, err := read(t.Context(), r, id); err != nil || got != contents[i] {
			t.Errorf("file %d: got %d bytes, %v; want %d", i, len(got), err, len(contents[i]))
		}
	}
	if got := position(t, r); got <= later {
		t.Errorf("got the position %d: a client of the lost time holds %d and would miss what comes", got, later)
	}
}

// TestRestoreForgetsOneTimeKeys shows that a key that was given out after the
// backup is not given out a second time, and that the fallback key is there.
func TestRestoreForgetsOneTimeKeys(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	putKeys(t, c)
	backup := take(t, c)
	if got := claim(t, c); got == "" || strings.Contains(got, "fallback") {
		t.Fatalf("claimed %q before the restore, want a one-time key", got)
	}
	cfg := config(t)
	if _, err := server.Restore(t.Context(), cfg, nil, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, open(t, cfg)); !strings.Contains(got, "fallback") {
		t.Errorf("claimed %q after the restore, want the fallback key", got)
	}
}

// TestRestoreRefusesOtherFiles cuts and alters a backup everywhere.
func TestRestoreRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	upload(t, c, strings.Repeat("x", 5000))
	backup := take(t, c)
	try := func(what string, file []byte) {
		t.Helper()
		cfg := config(t)
		_, err := server.Restore(t.Context(), cfg, nil, bytes.NewReader(file))
		if quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
		if _, serr := os.Stat(cfg.DB.Path); !errors.Is(serr, os.ErrNotExist) {
			t.Errorf("%s: a store was made", what)
		}
	}
	try("nothing", nil)
	try("another file", []byte(strings.Repeat("not a backup ", 1000)))
	sums := bytes.LastIndex(backup, []byte("SHA256SUMS")) // the header of the last entry
	for at := 0; at < sums+1024; at += len(backup)/40 + 1 {
		try("cut", backup[:at])
	}
	for at := 0; at < sums; at += len(backup)/60 + 7 {
		altered := bytes.Clone(backup)
		altered[at] ^= 1
		if !headerOnly(backup, altered) {
			try("altered", altered)
		}
	}
	if _, err := server.Restore(t.Context(), config(t), nil, bytes.NewReader(backup)); err != nil {
		t.Errorf("the whole file: %v", err)
	}
}

// headerOnly reports whether two tar files hold the same content under the
// same names: padding and times of a tar file are not covered by the sums.
func headerOnly(a, b []byte) bool { return sha256.Sum256(flat(a)) == sha256.Sum256(flat(b)) }

func TestBackupOfALostFile(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	c := open(t, cfg)
	lost, kept := upload(t, c, "lost"), upload(t, c, "kept")
	removeBytes(t, filepath.Join(filepath.Dir(cfg.DB.Path), "media"), "lost")
	cfg2 := config(t)
	if _, err := server.Restore(t.Context(), cfg2, nil, bytes.NewReader(take(t, c))); err != nil {
		t.Fatal(err)
	}
	r := open(t, cfg2)
	if got, err := read(t.Context(), r, kept); got != "kept" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := read(t.Context(), r, lost); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("got %v, want that the file is not there", err)
	}
}

// putKeys uploads a one-time and a fallback key.
func putKeys(t *testing.T, c *server.Core) {
	t.Helper()
	if err := c.Update(t.Context(), func(tx *db.Tx) error {
		if err := prekey.Put(tx, "matrix", "@alice:hs1", "A", []prekey.Key{{Algorithm: "alg", ID: "one", Body: []byte("one")}}); err != nil {
			return err
		}
		return prekey.PutFallback(tx, "matrix", "@alice:hs1", "A", []prekey.Key{{Algorithm: "alg", ID: "last", Body: []byte("fallback")}})
	}); err != nil {
		t.Fatal(err)
	}
}

// claim claims a key and returns its body.
func claim(t *testing.T, c *server.Core) string {
	t.Helper()
	var got []prekey.Claimed
	if err := c.Update(t.Context(), func(tx *db.Tx) (err error) {
		got, err = prekey.Claim(tx, "matrix", []prekey.Want{{User: "@alice:hs1", Device: "A", Algorithm: "alg"}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("got %d keys, want one", len(got))
	}
	return string(got[0].Body)
}

// flat is what the entries of a tar file hold, with their names.
func flat(file []byte) []byte {
	var out bytes.Buffer
	for r := tar.NewReader(bytes.NewReader(file)); ; {
		h, err := r.Next()
		if err != nil {
			return out.Bytes()
		}
		fmt.Fprintln(&out, h.Typeflag, h.Name, h.Size)
		if _, err := io.Copy(&out, r); err != nil {
			return out.Bytes()
		}
	}
}

// removeBytes removes the file with that content from a folder.
func removeBytes(t *testing.T, dir, content string) {
	t.Helper()
	removed := 0
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != content {
			return err
		}
		removed++
		return os.Remove(path)
	}); err != nil || removed != 1 {
		t.Fatalf("removed %d files, %v", removed, err)
	}
}
