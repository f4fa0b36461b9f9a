package server

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
)

// restoreSkip is how far a restore moves the position counter on. Clients
// hold positions that were given out after the backup; each new one must be
// greater than those, or they would miss what happens next. At a million
// changes a second it takes 19 hours to use up so many.
const restoreSkip = 1 << 36

// maxHead bounds the first entry of a backup in bytes.
const maxHead = 64 << 10

// Restore makes the store of cfg, which must not exist, and its media from a
// backup. The backup is checked to its last byte before anything is written;
// what Restore returns an error for must not be used. One-time keys are
// forgotten, since some may have been given out after the backup: devices
// upload new ones, and fallback keys carry on until then.
func Restore(ctx context.Context, cfg Config, networks []Network, r io.ReadSeeker) (BackupHead, error) {
	head, err := verify(r)
	if err != nil {
		return head, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return head, err
	}
	u := newUnpacker(r)
	if _, err := u.head(); err != nil {
		return head, err
	}
	if err := u.store(cfg.DB.Path); err != nil {
		return head, err
	}
	core, err := Open(ctx, cfg, networks)
	if err != nil {
		return head, err
	}
	err = u.media(ctx, core)
	if err == nil {
		err = core.Update(ctx, func(tx *db.Tx) error {
			tx.SkipPos(restoreSkip)
			return prekey.Forget(tx)
		})
	}
	return head, errors.Join(err, core.Close())
}

// verify reads a backup to its end and compares its content with its sums.
func verify(r io.Reader) (BackupHead, error) {
	u := newUnpacker(r)
	head, err := u.head()
	for err == nil {
		if err = u.next(); err != nil {
			break
		}
		if u.entry.Name == backupSums {
			return head, u.checkSums()
		}
		if _, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{u}, make([]byte, 64<<10)); err != nil {
			err = damaged(err)
		}
		u.done()
	}
	return head, err
}

// An unpacker reads the entries of a backup in their order.
type unpacker struct {
	tar *tar.Reader
	// sums is the sum of the lines that the sums must hold.
	sums hash.Hash
	// entry is the one being read, sum its own sum.
	entry *tar.Header
	sum   hash.Hash
}

func newUnpacker(r io.Reader) *unpacker {
	return &unpacker{tar: tar.NewReader(r), sums: sha256.New()}
}

// next goes to the next entry. The end of the file is damage: the sums come
// before it.
func (u *unpacker) next() error {
	h, err := u.tar.Next()
	if err != nil || h.Typeflag != tar.TypeReg {
		return damaged(err)
	}
	u.entry, u.sum = h, sha256.New()
	return nil
}

// damaged keeps an error that does not come from the file's content.
func damaged(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe
	}
	return errDamaged
}

// Read reads the entry and sums it up.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.tar.Read(p)
	u.sum.Write(p[:n]) // a hash never fails
	return n, err
}

// done notes the sum of an entry that was read to its end.
func (u *unpacker) done() { io.WriteString(u.sums, sumLine(u.sum, u.entry.Name)) }

func (u *unpacker) head() (BackupHead, error) {
	var head BackupHead
	if err := u.next(); err != nil || u.entry.Name != backupHead || u.entry.Size > maxHead {
		return head, errNotBackup
	}
	b, err := io.ReadAll(u)
	if err != nil {
		return head, damaged(err)
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return head, errNotBackup
	}
	if head.Format > backupFormat {
		return head, fmt.Errorf("the backup was written by a newer version of this program: use that one")
	}
	if head.Format != backupFormat {
		return head, errNotBackup
	}
	u.done()
	return head, nil
}

// store writes the store to a new file at path.
func (u *unpacker) store(path string) error {
	if err := u.next(); err != nil {
		return err
	}
	if u.entry.Name != backupStore {
		return errDamaged
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{u}, make([]byte, 64<<10))
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); !ok || pe.Path != path {
			err = damaged(err)
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	u.done()
	return nil
}

// media reads the files and then the sums. Files come in the order in which
// the store lists them; a file that the store does not know is refused, and a
// missing one was lost before the backup.
func (u *unpacker) media(ctx context.Context, core *Core) error {
	if err := u.next(); err != nil {
		return err
	}
	err := eachBytes(ctx, core.DB, func(w blob.Bytes) error {
		if u.entry.Name != backupMedia+w.Key {
			return nil
		}
		if u.entry.Size != w.Size {
			return errDamaged
		}
		if err := core.Blobs.Import(ctx, w, u); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, blob.ErrBytes) {
				return errDamaged
			}
			return err
		}
		u.done()
		return u.next()
	})
	if err != nil {
		return err
	}
	return u.checkSums()
}

// checkSums compares the sums with what was read, and looks that nothing
// comes after them.
func (u *unpacker) checkSums() error {
	if u.entry.Name != backupSums {
		return errDamaged
	}
	said := sha256.New()
	if _, err := io.Copy(said, u.tar); err != nil {
		return damaged(err)
	}
	if !bytes.Equal(said.Sum(nil), u.sums.Sum(nil)) {
		return errDamaged
	}
	if _, err := u.tar.Next(); err != io.EOF {
		return errDamaged
	}
	return nil
}
