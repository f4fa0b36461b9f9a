package server

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

// A backup is a tar file with these entries in this order: the head, the
// store, the bytes of each file of the media store in the order of their
// keys, and the sums, which are in the format of sha256sum and cover
// everything before them. A file without its sums is cut off.
const (
	backupHead  = "quinta-backup.json"
	backupStore = "quinta.db"
	backupMedia = "media/"
	backupSums  = "SHA256SUMS"
)

// backupFormat is the version of that form.
const backupFormat = 1

// A BackupHead is the first entry of a backup.
type BackupHead struct {
	Format int `json:"format"`
	// Name is the server name.
	Name string `json:"server_name"`
	// Created is when the backup began, in Unix milliseconds.
	Created int64 `json:"created"`
}

// Backup writes a backup of an embedded store and its media to w, while the
// server serves: all as it was at one moment. It keeps a copy of the store in
// a new file in dir meanwhile.
func (c *Core) Backup(ctx context.Context, dir string, w io.Writer) (err error) {
	// Files that the copy of the store refers to must not be swept before
	// they are copied.
	defer c.Blobs.Keep()()
	path := filepath.Join(dir, fmt.Sprintf("copy-%d.db", c.Now().UnixNano()))
	defer func() {
		if rerr := os.RemoveAll(path); err == nil {
			err = rerr
		}
	}()
	if err := c.DB.Backup(ctx, path); err != nil {
		return err
	}
	// The copy is opened for its list of files, before its bytes are read.
	rows, err := db.Open(ctx, db.Config{Path: path, Now: c.Now, Log: c.Log, Readers: 1}, blob.Schema)
	if err != nil {
		return err
	}
	a := &archive{tar: tar.NewWriter(w), now: c.Now()}
	err = c.writeBackup(ctx, a, rows, path)
	return errors.Join(err, rows.Close())
}

func (c *Core) writeBackup(ctx context.Context, a *archive, rows *db.DB, path string) error {
	head, err := json.Marshal(BackupHead{Format: backupFormat, Name: c.Name, Created: a.now.UnixMilli()})
	if err != nil {
		return err
	}
	if err := a.put(backupHead, int64(len(head)), bytes.NewReader(head)); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.put(backupStore, st.Size(), f); err != nil {
		return err
	}
	if err := eachBytes(ctx, rows, func(w blob.Bytes) error { return c.backupBytes(ctx, a, w) }); err != nil {
		return err
	}
	return a.end()
}

// backupBytes writes one file of the media store. One that is lost already
// does not keep the others from being saved.
func (c *Core) backupBytes(ctx context.Context, a *archive, w blob.Bytes) error {
	r := c.Blobs.Reader(ctx, w)
	defer r.Close()
	if err := r.Ready(); err != nil {
		c.Log.Error("backup: a file of the media store cannot be read and is left out", "key", w.Key, "err", err)
		return nil
	}
	return a.put(backupMedia+w.Key, w.Size, r)
}

// bytesPage is how many rows are read at once.
const bytesPage = 500

// eachBytes calls fn with all bytes that the rows of d refer to, in the order
// of their keys.
func eachBytes(ctx context.Context, d *db.DB, fn func(blob.Bytes) error) error {
	for after := ""; ; {
		var page []blob.Bytes
		if err := d.View(ctx, func(tx *db.Tx) (err error) {
			page, err = blob.All(tx, after, bytesPage)
			return err
		}); err != nil {
			return err
		}
		for _, w := range page {
			if err := fn(w); err != nil {
				return err
			}
			after = w.Key
		}
		if len(page) < bytesPage {
			return nil
		}
	}
}

// An archive writes the entries of a backup and their sums.
type archive struct {
	tar  *tar.Writer
	now  time.Time
	sums bytes.Buffer
}

// put writes one entry of size bytes.
func (a *archive) put(name string, size int64, r io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.now.Truncate(time.Second), Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(a.tar, sum), io.LimitReader(r, size), make([]byte, 64<<10))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("writing %s into the backup: %w", name, err)
	}
	a.sums.WriteString(sumLine(sum, name))
	return nil
}

// end writes the sums, which make the backup whole.
func (a *archive) end() error {
	if err := a.put(backupSums, int64(a.sums.Len()), bytes.NewReader(bytes.Clone(a.sums.Bytes()))); err != nil {
		return err
	}
	return a.tar.Close()
}

// sumLine is a line of the program sha256sum.
func sumLine(sum hash.Hash, name string) string {
	return hex.EncodeToString(sum.Sum(nil)) + "  " + name + "\n"
}

// errNotBackup and errDamaged are what Restore says of a file that is none,
// and of one that is not as it was written.
var (
	errNotBackup = quinta.E(quinta.KindInvalid, "restore", "the file is not a backup of this program")
	errDamaged   = quinta.E(quinta.KindInvalid, "restore", "the backup is cut off or altered")
)
