package blob_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

// In the environment these make this test binary another program: an uploader
// that is to be killed, or an S3 server whose memory is not that of the test.
const (
	uploaderDir = "BLOB_TEST_UPLOADER"
	bucketAlone = "BLOB_TEST_BUCKET"
)

func TestMain(m *testing.M) {
	if os.Getenv(bucketAlone) != "" {
		if err := serveBucket(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if dir := os.Getenv(uploaderDir); dir != "" {
		if err := uploadForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// content is what the file of an id holds: every id has other bytes, some of
// them many.
func content(id string) []byte {
	return bytes.Repeat([]byte(id), 1+int(id[0])*int(id[1])%5000)
}

// uploadForEver uploads files from four sides and prints the id of each one
// that is acknowledged.
func uploadForEver(dir string) error {
	d, b, err := openAt(context.Background(), dir, time.Now)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				id, err := uploadOne(d, b)
				if err != nil {
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.New("the uploads ended")
}

func uploadOne(d *db.DB, b *blob.Blobs) (string, error) {
	ctx := context.Background()
	id, err := b.NewID()
	if err != nil {
		return "", err
	}
	w, err := b.Write(ctx, bytes.NewReader(content(id)), 10<<20)
	if err != nil {
		return "", err
	}
	return id, d.Update(ctx, func(tx *db.Tx) error { return blob.Put(tx, blob.Blob{ID: id, Owner: "matrix @alice:hs1", Bytes: w}) })
}

func openAt(ctx context.Context, dir string, now func() time.Time) (*db.DB, *blob.Blobs, error) {
	d, err := db.Open(ctx, db.Config{Path: filepath.Join(dir, "quinta.db"), Now: now}, blob.Schema)
	if err != nil {
		return nil, nil, err
	}
	b, err := blob.Open(ctx, blob.Config{URL: (&url.URL{Scheme: "file", Path: filepath.Join(dir, "media")}).String()}, d)
	return d, b, err
}

// TestKill9 kills a process in the middle of its uploads, again and again:
// each acknowledged file is there, whole; and once the loose ones have
// expired, the folder holds nothing else.
func TestKill9(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acked []string
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), uploaderDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acked = append(acked, lines.Text())
			if n == 10+7*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the uploader ended by itself: %v", err)
		}
	}
	if len(acked) < 40 {
		t.Fatalf("only %d uploads were acknowledged", len(acked))
	}
	d, b, err := openAt(t.Context(), dir, func() time.Time { return time.Now().Add(2 * time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	defer b.Close()
	if _, err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, id := range acked {
		err := d.View(t.Context(), func(tx *db.Tx) error { f, err := blob.Get(tx, id); known[f.Key] = true; return check(t, b, f, id, err) })
		if err != nil {
			t.Errorf("acknowledged file %s: %v", id, err)
		}
	}
	// What was committed and not acknowledged any more is whole too.
	var all []blob.Bytes
	if err := d.View(t.Context(), func(tx *db.Tx) (err error) { all, err = blob.All(tx, "", 10_000); return err }); err != nil {
		t.Fatal(err)
	}
	if len(all) < len(known) {
		t.Errorf("got %d files, want at least the %d acknowledged", len(all), len(known))
	}
	if onDisk := files(t, filepath.Join(dir, "media")); len(onDisk) != len(all) {
		t.Errorf("the folder holds %d files, the store refers to %d", len(onDisk), len(all))
	}
}

func check(t *testing.T, b *blob.Blobs, f blob.Blob, id string, err error) error {
	if err != nil {
		return err
	}
	r, err := b.Open(t.Context(), f.Bytes, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, content(id)) {
		err = fmt.Errorf("got %d bytes, want %d", len(got), len(content(id)))
	}
	return err
}

// TestConstantMemory streams 200 MB in and out: what is held in memory does
// not grow with the file.
func TestConstantMemory(t *testing.T) {
	// Not parallel: it measures the whole process.
	for _, kind := range []string{"file", "s3"} {
		t.Run(kind, func(t *testing.T) {
			const size = 200 << 20
			var s *stage
			bound := uint64(8 << 20)
			if kind == "s3" {
				s = stageAt(t, "sqlite", bucketURL(startBucket(t)), nil)
				bound = 32 << 20 // parts of 5 MB in flight
			} else {
				s = newStage(t, "sqlite", "file")
			}
			var most atomic.Uint64
			base := heap()
			watch := func(r io.Reader) io.Reader {
				seen := 0
				return readerFunc(func(p []byte) (int, error) {
					n, err := r.Read(p)
					if seen += n; seen > 10<<20 {
						seen = 0
						if h := heap(); h > base {
							most.Store(max(most.Load(), h-base))
						}
					}
					return n, err
				})
			}
			w, err := s.Write(t.Context(), watch(io.LimitReader(zeros{}, size)), size)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Open(t.Context(), w, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			n, err := io.Copy(io.Discard, watch(r))
			if err != nil || n != size || w.Size != size {
				t.Fatalf("got %d bytes of %d back: %v", n, w.Size, err)
			}
			if m := most.Load(); m > bound {
				t.Errorf("a file of %d MB held %d MB in memory, want at most %d", size>>20, m>>20, bound>>20)
			}
		})
	}
}

// serveBucket runs an S3 server until its standard input ends.
func serveBucket() error {
	back := s3mem.New()
	if err := back.CreateBucket("media"); err != nil {
		return err
	}
	srv := httptest.NewServer(gofakes3.New(back).Server())
	fmt.Println(srv.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	srv.Close()
	return errors.Join(err, errors.New("the test is over"))
}

// startBucket runs an S3 server as another process and returns its address.
func startBucket(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), bucketAlone+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err == nil {
			t.Error("the S3 server ended without the word that the test is over")
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
