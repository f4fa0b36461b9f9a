package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps in the store.
var Schema = db.ReadSchema("blob", tables)

// Config says where the bytes lie.
type Config struct {
	// URL is "file:///folder" or "s3://bucket?region=...&endpoint=...". The
	// credentials of a bucket come from the environment or the files of the
	// AWS tools, never from the URL.
	URL string
	// Rand is a secure source of random bytes.
	Rand io.Reader
	// Log gets what an operator should know.
	Log *slog.Logger
	// Room, if not nil, is called before bytes are written, and returns an error
	// if there is no space for any.
	Room func() error
	// Faults, if not nil, is asked before each step of the folder driver:
	// "create", "write", "sync", "rename", "sync-folder". Tests use it to
	// fill a disk.
	Faults func(op string) error
}

// Blobs is an open media store beside the store of the rows.
type Blobs struct {
	cfg   Config
	db    *db.DB
	store store

	shut sync.Once

	// kept is held by those who need all bytes to stay, and by the sweep.
	kept sync.RWMutex
}

// Keep holds sweeps off until the function that it returns is called, so that
// all bytes that any row refers to now can still be read.
func (b *Blobs) Keep() (release func()) {
	b.kept.RLock()
	return sync.OnceFunc(b.kept.RUnlock)
}

// Bytes are bytes on the media store.
type Bytes struct {
	// Key is their name there.
	Key  string
	Size int64
	// Sum is their SHA-256.
	Sum []byte
}

const (
	// looseTime is how long bytes may stay loose, in milliseconds: longer
	// than any upload takes.
	looseTime = 60 * 60 * 1000
	// sweepEvery is how often a running server looks for loose bytes.
	sweepEvery = 10 * time.Minute
	// cleanTime bounds the tidying up after a failed write.
	cleanTime = 10 * time.Second
)

// Open opens the media store. d must have the tables of Schema. Close it
// before d. Nothing is swept before Run.
func Open(ctx context.Context, cfg Config, d *db.DB) (*Blobs, error) {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Blobs{cfg: cfg, db: d, store: s}, nil
}

// Close closes the media store.
func (b *Blobs) Close() (err error) {
	b.shut.Do(func() { err = b.store.close() })
	return err
}

// NewID returns a new random id of 24 characters out of A-Z a-z 0-9 _ -.
func (b *Blobs) NewID() (string, error) {
	var p [18]byte
	if _, err := io.ReadFull(b.cfg.Rand, p[:]); err != nil {
		return "", fmt.Errorf("making a blob id: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(p[:]), nil
}

func (b *Blobs) newKey() (string, error) {
	var p [16]byte
	if _, err := io.ReadFull(b.cfg.Rand, p[:]); err != nil {
		return "", fmt.Errorf("making a key of the media store: %w", err)
	}
	return hex.EncodeToString(p[:]), nil
}

// tooLarge is the error of Write for more bytes than allowed.
func tooLarge(max int64) error {
	return quinta.E(quinta.KindTooLarge, "", fmt.Sprintf("the file is larger than %d bytes", max))
}

// Write makes the bytes that r gives, max of them at most, durable on the
// media store. They are loose: unless a transaction refers to them within an
// hour they are removed. It returns the error of r as it is, KindTooLarge,
// KindFull, or KindUnavailable; then nothing is left of the bytes.
func (b *Blobs) Write(ctx context.Context, r io.Reader, max int64) (Bytes, error) {
	if b.cfg.Room != nil {
		if err := b.cfg.Room(); err != nil {
			return Bytes{}, err
		}
	}
	key, err := b.newKey()
	if err != nil {
		return Bytes{}, err
	}
	err = b.db.Update(ctx, func(tx *db.Tx) error {
		return tx.Queue(`INSERT INTO blob_loose (bytes, due, claimed) VALUES ($1, $2, $3)`, key, tx.Millis()+looseTime, false)
	})
	if err != nil {
		return Bytes{}, err
	}
	in := &meter{r: r, left: max, sum: sha256.New()}
	if err := b.store.put(ctx, key, in); err != nil {
		if cerr := b.Discard(ctx, Bytes{Key: key}); cerr != nil {
			b.cfg.Log.Warn("media store: the rest of a failed upload remains until the next sweep", "err", cerr)
		}
		switch {
		case in.over:
			return Bytes{}, tooLarge(max)
		case in.err != nil:
			return Bytes{}, in.err
		case ctx.Err() != nil:
			return Bytes{}, ctx.Err()
		}
		return Bytes{}, b.unavailable("write", err)
	}
	return Bytes{Key: key, Size: max - in.left, Sum: in.sum.Sum(nil)}, nil
}

// Discard removes loose bytes that no transaction will refer to. Bytes that
// one refers to stay: so it is safe to call when it is not known whether a
// commit went through.
func (b *Blobs) Discard(ctx context.Context, w Bytes) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	mine := false
	err := b.db.Update(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE blob_loose SET claimed = $1, due = $2 WHERE bytes = $3 AND NOT claimed`, true, tx.Millis(), w.Key)
		mine = n > 0
		return err
	})
	if err != nil || !mine {
		return err
	}
	return b.removeClaimed(ctx, []string{w.Key})
}

// Open reads n bytes from off on; a negative n means to the end.
func (b *Blobs) Open(ctx context.Context, w Bytes, off, n int64) (io.ReadCloser, error) {
	r, err := b.store.open(ctx, w.Key, off, n)
	if errors.Is(err, errNoBytes) {
		b.cfg.Log.Error("media store: bytes that the store refers to are missing", "key", w.Key)
		return nil, quinta.E(quinta.KindUnavailable, "", "the file is missing on the media store")
	}
	if err != nil {
		return nil, b.unavailable("read", err)
	}
	return r, nil
}

// ErrBytes is returned by Import for other bytes than those asked for.
var ErrBytes = quinta.E(quinta.KindInvalid, "media store", "the bytes are not those that the store refers to")

// Import puts bytes of a backup under the key that they had, in place of what
// is there. It fails and leaves nothing there if they are not the bytes that
// want describes.
func (b *Blobs) Import(ctx context.Context, want Bytes, r io.Reader) error {
	if !keyForm.MatchString(want.Key) {
		return quinta.E(quinta.KindInvalid, "media store", "this is not a key of the media store")
	}
	if err := b.store.remove(ctx, want.Key); err != nil {
		return b.unavailable("import", err)
	}
	in := &meter{r: r, left: want.Size, sum: sha256.New()}
	err := b.store.put(ctx, want.Key, in)
	switch {
	case err == nil && in.left == 0 && string(in.sum.Sum(nil)) == string(want.Sum):
		return nil
	case err == nil || in.over:
		err = ErrBytes
	case in.err != nil:
		err = in.err
	default:
		err = b.unavailable("import", err)
	}
	return errors.Join(err, b.store.remove(context.WithoutCancel(ctx), want.Key))
}

// A meter counts and sums up what is read, and ends with an error at more
// than left bytes. It tells the errors of the reader from those of the store.
type meter struct {
	r    io.Reader
	left int64
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
	over bool
	err  error
}

var errOver = errors.New("blob: too many bytes")

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if int64(n) > m.left {
		m.over = true
		return 0, errOver
	}
	m.left -= int64(n)
	m.sum.Write(p[:n]) // a hash never fails
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}
