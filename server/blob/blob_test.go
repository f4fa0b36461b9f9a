package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// A stage is a media store beside a store of rows, with a clock.
type stage struct {
	*blob.Blobs
	t     *testing.T
	db    *db.DB
	clock *clock
	// count tells how many objects lie on the media store.
	count func() int
	// fault, if set, fails steps of the folder driver.
	mu    sync.Mutex
	fault func(op string) error
	steps []string
}

// A clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// each runs fn on both engines, on a folder and on a bucket.
func each(t *testing.T, fn func(t *testing.T, s *stage)) {
	for _, engine := range stores.Engines {
		for _, kind := range []string{"file", "s3"} {
			t.Run(engine+" "+kind, func(t *testing.T) {
				t.Parallel()
				fn(t, newStage(t, engine, kind))
			})
		}
	}
}

func newStage(t *testing.T, engine, kind string) *stage {
	t.Helper()
	if kind == "s3" {
		u, count := bucket(t)
		return stageAt(t, engine, u, count)
	}
	dir := filepath.Join(t.TempDir(), "media")
	return stageAt(t, engine, (&url.URL{Scheme: "file", Path: dir}).String(), func() int { return len(files(t, dir)) })
}

func stageAt(t *testing.T, engine, u string, count func() int) *stage {
	t.Helper()
	s := &stage{t: t, clock: &clock{t: time.UnixMilli(1_700_000_000_000)}, count: count}
	cfg := stores.Config(t, engine)
	cfg.Now = s.clock.now
	s.db = stores.Open(t, cfg, blob.Schema)
	b, err := blob.Open(t.Context(), blob.Config{
		URL:    u,
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: s.step,
	}, s.db)
	if err != nil {
		t.Fatal(err)
	}
	s.Blobs = b
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// bucket runs an S3 server on loopback and returns the URL of a bucket there
// and a function that counts its objects.
func bucket(t *testing.T) (string, func() int) {
	t.Helper()
	back := s3mem.New()
	if err := back.CreateBucket("media"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(back).Server())
	t.Cleanup(srv.Close)
	return bucketURL(srv.URL), func() int {
		l, err := back.ListBucket("media", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Contents)
	}
}

func bucketURL(endpoint string) string {
	q := url.Values{"endpoint": {endpoint}, "region": {"us-east-1"}, "use_path_style": {"true"}, "anonymous": {"true"}, "prefix": {"quinta/"}}
	return "s3://media?" + q.Encode()
}

// files lists the files below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *stage) step(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, op)
	if s.fault != nil {
		return s.fault(op)
	}
	return nil
}

// fails lets the steps of the folder driver named so fail from now on.
func (s *stage) fails(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = nil
	s.fault = func(o string) error {
		if o == op {
			return err
		}
		return nil
	}
}

func (s *stage) write(text string) blob.Bytes {
	s.t.Helper()
	w, err := s.Write(s.t.Context(), strings.NewReader(text), 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// upload stores a file of alice's and returns it.
func (s *stage) upload(text string) blob.Blob {
	s.t.Helper()
	id, err := s.NewID()
	if err != nil {
		s.t.Fatal(err)
	}
	b := blob.Blob{ID: id, Owner: "matrix @alice:hs1", Type: "text/plain", Name: "a.txt", Bytes: s.write(text)}
	s.update(func(tx *db.Tx) error { return blob.Put(tx, b) })
	return b
}

func (s *stage) update(fn func(tx *db.Tx) error) {
	s.t.Helper()
	if err := s.db.Update(s.t.Context(), fn); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) try(fn func(tx *db.Tx) error) error { return s.db.Update(s.t.Context(), fn) }

func (s *stage) get(id string) (b blob.Blob, err error) {
	err = s.db.View(s.t.Context(), func(tx *db.Tx) error { b, err = blob.Get(tx, id); return err })
	return b, err
}

func (s *stage) read(w blob.Bytes, off, n int64) string {
	s.t.Helper()
	r, err := s.Open(s.t.Context(), w, off, n)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(p)
}

func (s *stage) sweep() int {
	s.t.Helper()
	n, err := s.Sweep(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *stage) wantCount(want int) {
	s.t.Helper()
	if got := s.count(); got != want {
		s.t.Fatalf("objects on the media store: got %d, want %d", got, want)
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func wantKind(t *testing.T, err error, want quinta.Kind) {
	t.Helper()
	if got := quinta.KindOf(err); err == nil || got != want {
		t.Fatalf("got error %v of kind %v, want kind %v", err, got, want)
	}
}

func TestPutAndRead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		for _, text := range []string{"", "x", strings.Repeat("0123456789", 1000)} {
			b := s.upload(text)
			got, err := s.get(b.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.Owner != b.Owner || got.Type != b.Type || got.Name != b.Name || got.Size != int64(len(text)) || !got.Filled() || got.Expires != 0 {
				t.Errorf("got %+v, want %+v", got, b)
			}
			if sum := sha256.Sum256([]byte(text)); !bytes.Equal(got.Sum, sum[:]) {
				t.Errorf("got sum %x, want %x", got.Sum, sum)
			}
			if g := s.read(got.Bytes, 0, -1); g != text {
				t.Errorf("got %d bytes back, want %d", len(g), len(text))
			}
			if len(text) > 20 {
				if g, want := s.read(got.Bytes, 5, 10), text[5:15]; g != want {
					t.Errorf("a range: got %q, want %q", g, want)
				}
			}
			r := s.Reader(t.Context(), got.Bytes)
			if err := iotest.TestReader(r, []byte(text)); err != nil {
				t.Error(err)
			}
			r.Close()
		}
		s.wantCount(3)
	})
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		_, err := s.get("nothing")
		wantErr(t, err, blob.ErrUnknown)
		wantErr(t, s.try(func(tx *db.Tx) error { return blob.Remove(tx, "nothing") }), blob.ErrUnknown)
		b := blob.Blob{ID: "nothing", Owner: "matrix @alice:hs1", Bytes: s.write("x")}
		wantErr(t, s.try(func(tx *db.Tx) error { return blob.Fill(tx, b) }), blob.ErrUnknown)
		_, err = s.Open(t.Context(), blob.Bytes{Key: strings.Repeat("0", 32)}, 0, -1)
		wantKind(t, err, quinta.KindUnavailable)
	})
}

func TestReserveAndFill(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		const day = 24 * 60 * 60 * 1000
		reserve := func(id string, owner db.User) error {
			return s.try(func(tx *db.Tx) error { _, err := blob.Reserve(tx, id, owner, day, 2); return err })
		}
		fill := func(id string, owner db.User) error {
			w := s.write("text of " + id)
			err := s.try(func(tx *db.Tx) error {
				return blob.Fill(tx, blob.Blob{ID: id, Owner: owner, Type: "text/plain", Bytes: w})
			})
			if err != nil {
				if derr := s.Discard(t.Context(), w); derr != nil {
					t.Fatal(derr)
				}
			}
			return err
		}
		wantErr(t, reserve("one", "@alice:hs1"), nil)
		wantErr(t, reserve("two", "@alice:hs1"), nil)
		wantKind(t, reserve("three", "@alice:hs1"), quinta.KindLimited)
		wantErr(t, reserve("three", "@bob:hs1"), nil) // the bound is per user

		b, err := s.get("one")
		if err != nil || b.Filled() || b.Expires != s.clock.now().UnixMilli()+day {
			t.Fatalf("got %+v, %v; want a reserved id", b, err)
		}
		wantErr(t, fill("one", "@bob:hs1"), blob.ErrOwner)
		wantErr(t, fill("one", "@alice:hs1"), nil)
		wantErr(t, fill("one", "@alice:hs1"), blob.ErrFilled)
		wantErr(t, fill("one", "@bob:hs1"), blob.ErrOwner)
		b, err = s.get("one")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.read(b.Bytes, 0, -1); got != "text of one" {
			t.Errorf("got %q", got)
		}
		wantErr(t, reserve("four", "@alice:hs1"), nil) // a filled one does not count

		s.clock.add(25 * time.Hour)
		_, err = s.get("two")
		wantErr(t, err, blob.ErrUnknown)
		wantErr(t, fill("two", "@alice:hs1"), blob.ErrUnknown)
		wantErr(t, reserve("five", "@alice:hs1"), nil) // an expired one does not count
		s.sweep()
		if _, err = s.get("one"); err != nil {
			t.Fatalf("a filled id went with the expired ones: %v", err)
		}
		s.wantCount(1) // the refused uploads left nothing
	})
}

// Two uploads to one reserved id race: one wins, the other leaves nothing.
func TestFillRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		s.update(func(tx *db.Tx) error { _, err := blob.Reserve(tx, "id", "matrix @alice:hs1", 1000, 1); return err })
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				w, err := s.Write(t.Context(), strings.NewReader(fmt.Sprint("text ", i)), 100)
				if err != nil {
					t.Error(err)
					return
				}
				errs[i] = s.try(func(tx *db.Tx) error { return blob.Fill(tx, blob.Blob{ID: "id", Owner: "matrix @alice:hs1", Bytes: w}) })
				if err := s.Discard(t.Context(), w); err != nil { // must spare the winner
					t.Error(err)
				}
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			if err == nil && winner < 0 {
				winner = i
			} else if !errors.Is(err, blob.ErrFilled) {
				t.Errorf("upload %d: got %v, want %v", i, err, blob.ErrFilled)
			}
		}
		b, err := s.get("id")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := s.read(b.Bytes, 0, -1), fmt.Sprint("text ", winner); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		s.wantCount(1)
	})
}

func TestVariantsAndRemove(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		b := s.upload("large")
		put := func(text string) error {
			w := s.write(text)
			return s.try(func(tx *db.Tx) error {
				return blob.PutVariant(tx, b.ID, "32x32-crop", blob.Variant{Type: "image/png", Bytes: w})
			})
		}
		wantErr(t, put("small"), nil)
		wantErr(t, put("other"), nil) // the first one stays
		var v blob.Variant
		err := s.db.View(t.Context(), func(tx *db.Tx) (err error) { v, err = blob.GetVariant(tx, b.ID, "32x32-crop"); return err })
		if err != nil {
			t.Fatal(err)
		}
		if got := s.read(v.Bytes, 0, -1); got != "small" || v.Type != "image/png" {
			t.Errorf("got %q of type %q", got, v.Type)
		}
		s.sweep()
		s.wantCount(2)

		s.update(func(tx *db.Tx) error { return blob.Remove(tx, b.ID) })
		_, err = s.get(b.ID)
		wantErr(t, err, blob.ErrUnknown)
		err = s.db.View(t.Context(), func(tx *db.Tx) error { _, err := blob.GetVariant(tx, b.ID, "32x32-crop"); return err })
		wantErr(t, err, blob.ErrUnknown)
		wantErr(t, put("late"), blob.ErrUnknown)
		s.wantCount(3) // bytes go after the rows, with the sweep
		s.clock.add(2 * time.Hour)
		s.sweep()
		s.wantCount(0)
	})
}

// What a failed upload gave up leaves nothing on the media store, and each
// failure has its own error.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		torn := errors.New("the line went dead")
		big := bytes.Repeat([]byte("x"), 300<<10)
		_, err := s.Write(t.Context(), bytes.NewReader(big), int64(len(big))-1)
		wantKind(t, err, quinta.KindTooLarge)
		_, err = s.Write(t.Context(), io.MultiReader(bytes.NewReader(big), iotest.ErrReader(torn)), 1<<20)
		wantErr(t, err, torn)
		_, err = s.Write(t.Context(), bytes.NewReader(big), int64(len(big)))
		wantErr(t, err, nil) // exactly the bound
		ctx, cancel := context.WithCancel(t.Context())
		_, err = s.Write(ctx, io.MultiReader(bytes.NewReader(big), readerFunc(func(p []byte) (int, error) { cancel(); return 0, ctx.Err() })), 1<<20)
		wantErr(t, err, context.Canceled)
		s.wantCount(1)
		s.clock.add(2 * time.Hour)
		if got := s.sweep(); got != 1 {
			t.Errorf("the sweep removed %d files, want the one that nothing refers to", got)
		}
		s.wantCount(0)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Bytes that no transaction referred to within an hour are gone, and a
// transaction that comes later fails instead of referring to nothing.
func TestLateReference(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		w := s.write("text")
		s.clock.add(59 * time.Minute)
		if got := s.sweep(); got != 0 {
			t.Fatalf("the sweep removed %d files before their time", got)
		}
		s.clock.add(2 * time.Minute)
		if got := s.sweep(); got != 1 {
			t.Fatalf("the sweep removed %d files, want 1", got)
		}
		err := s.try(func(tx *db.Tx) error { return blob.Put(tx, blob.Blob{ID: "id", Owner: "matrix @alice:hs1", Bytes: w}) })
		wantKind(t, err, quinta.KindUnavailable)
		_, err = s.get("id")
		wantErr(t, err, blob.ErrUnknown)
	})
}

// TestFolderFaults fails each step of the folder driver in turn: the upload
// is refused, and nothing of it is left.
func TestFolderFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "rename", "sync-folder"} {
		for _, c := range []struct {
			err  error
			kind quinta.Kind
		}{{syscall.ENOSPC, quinta.KindFull}, {syscall.EDQUOT, quinta.KindFull}, {syscall.EIO, quinta.KindUnavailable}} {
			t.Run(fmt.Sprint(op, " ", c.err), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, "sqlite", "file")
				s.fails(op, c.err)
				_, err := s.Write(t.Context(), strings.NewReader("text"), 100)
				wantKind(t, err, c.kind)
				if strings.Contains(err.Error(), "/") {
					t.Errorf("the error shows a path: %v", err)
				}
				s.wantCount(0)
				s.fails("", nil)
				b := s.upload("afterwards")
				if got := s.read(b.Bytes, 0, -1); got != "afterwards" {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}

// TestFolderOrder shows that a put returns only after the file was synced
// before it got its name, and the folder with the name after.
func TestFolderOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t, "sqlite", "file")
	s.fails("", nil)
	s.upload("text")
	got := strings.Join(s.steps, " ")
	// The first sync-folder is the one of the new folder's own name.
	if want := "create write sync sync-folder rename sync-folder"; got != want {
		t.Errorf("steps: got %q, want %q", got, want)
	}
}

func TestAllAndImport(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *stage) {
		want := map[string]string{}
		for i := range 5 {
			text := fmt.Sprint("file ", i)
			want[s.upload(text).Key] = text
		}
		b := s.upload("with a variant")
		want[b.Key] = "with a variant"
		w := s.write("variant")
		want[w.Key] = "variant"
		s.update(func(tx *db.Tx) error { return blob.PutVariant(tx, b.ID, "v", blob.Variant{Bytes: w}) })
		s.write("loose")

		var all []blob.Bytes
		for after := ""; ; {
			var page []blob.Bytes
			err := s.db.View(t.Context(), func(tx *db.Tx) (err error) { page, err = blob.All(tx, after, 3); return err })
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
			after = page[len(page)-1].Key
		}
		if len(all) != len(want) {
			t.Fatalf("got %d files, want %d", len(all), len(want))
		}
		other := newStage(t, "sqlite", "file")
		for _, w := range all {
			text, ok := want[w.Key]
			if got := s.read(w, 0, -1); !ok || got != text {
				t.Errorf("got %q, want %q", got, text)
			}
			wantKind(t, other.Import(t.Context(), w, strings.NewReader(text+"!")), quinta.KindInvalid)
			wantKind(t, other.Import(t.Context(), w, strings.NewReader(text[1:])), quinta.KindInvalid)
			wantKind(t, other.Import(t.Context(), w, strings.NewReader(strings.ToUpper(text))), quinta.KindInvalid)
			if _, err := other.Open(t.Context(), w, 0, -1); err == nil {
				t.Error("wrong bytes were kept")
			}
			for range 2 { // again is not an error
				if err := other.Import(t.Context(), w, strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			if got := other.read(w, 0, -1); got != text {
				t.Errorf("after the import: got %q, want %q", got, text)
			}
		}
		wantKind(t, other.Import(t.Context(), blob.Bytes{Key: "../../etc/passwd"}, strings.NewReader("x")), quinta.KindInvalid)
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "sqlite"), blob.Schema)
	for _, c := range []struct{ url, want string }{
		{"", "of an unknown kind"},
		{"media", "of an unknown kind"},
		{"mem://", "of an unknown kind"},
		{"gs://bucket", "of an unknown kind"},
		{"file://media/x", "file:///folder"},
		{"file:///x?create_dir=true", "file:///folder"},
		{"s3://user:hunter2@bucket", "credentials"},
		{"s3://bucket?nonsense=1", "nonsense"},
		{"http://[::1", "not a URL"},
		{"file:///proc/nowhere", "cannot be created"},
	} {
		b, err := blob.Open(t.Context(), blob.Config{URL: c.url}, d)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got error %v, want one with %q", c.url, err, c.want)
		}
	}
	u, _ := bucket(t)
	if _, err := blob.Open(t.Context(), blob.Config{URL: strings.Replace(u, "s3://media", "s3://other", 1)}, d); err == nil {
		t.Error("a bucket that is not there was accepted")
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	s := newStage(t, "sqlite", "file")
	seen := map[string]bool{}
	for range 1000 {
		id, err := s.NewID()
		if err != nil {
			t.Fatal(err)
		}
		if len(id) != 24 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" || seen[id] {
			t.Fatalf("got id %q", id)
		}
		seen[id] = true
	}
}
