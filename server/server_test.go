package server_test

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

func config(t *testing.T) server.Config {
	return server.Config{Name: "hs1", Now: time.Now, Rand: rand.Reader, DB: db.Config{Path: filepath.Join(t.TempDir(), "q.db")}}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"hs1", "example.org", "example.org:8448", "127.0.0.1", "127.0.0.1:8008", "[::1]", "[::1]:8008"} {
		if err := server.CheckName(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "a b", "a/b", "-a", "a..b", "a:port", "[::1", "http://x", strings.Repeat("a", 300), "a\n"} {
		if err := server.CheckName(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestStoreBelongsToOneName(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	cfg.Name = "other"
	if _, err := server.Open(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), `"hs1"`) {
		t.Errorf("got %v, want that the store belongs to hs1", err)
	}
}

// A front that answers when it is told to.
type slow struct {
	began, finish chan struct{}
	core          *server.Core
}

func (s *slow) Paths() []string { return []string{"/slow/", "/poll/", "/panic/"} }
func (s *slow) Close() error    { return nil }
func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.began <- struct{}{}
	switch {
	case strings.HasPrefix(r.URL.Path, "/poll/"):
		<-s.core.Draining()
	case strings.HasPrefix(r.URL.Path, "/panic/"):
		panic("oops")
	default:
		<-s.finish
	}
	io.WriteString(w, "done")
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	f := &slow{began: make(chan struct{}, 3), finish: make(chan struct{})}
	c, err := server.Open(t.Context(), config(t), []server.Network{{Name: "slow", New: func(c *server.Core) (server.Front, error) { f.core = c; return f, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- c.Serve(ctx, l, c.Handler(http.NotFoundHandler()), nil) }()
	url := "http://" + l.Addr().String()

	if resp, err := http.Get(url + "/panic/"); err != nil || resp.StatusCode != 500 {
		t.Errorf("a panic: got %v, %v, want 500", resp, err)
	}
	<-f.began
	answers := make(chan string, 2)
	for _, path := range []string{"/slow/x", "/poll/x"} {
		go func() {
			resp, err := http.Get(url + path)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			answers <- string(b)
		}()
	}
	<-f.began
	<-f.began
	cancel()
	if got := <-answers; got != "done" {
		t.Errorf("the long poll: got %q, want an answer at the stop", got)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with %v before the request was finished", err)
	default:
	}
	close(f.finish)
	if got := <-answers; got != "done" {
		t.Errorf("the running request: got %q, want its answer", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url + "/slow/"); err == nil {
		t.Error("the stopped server answers")
	}
}

func TestLimitsPerKey(t *testing.T) {
	t.Parallel()
	var now atomic.Int64 // in seconds
	cfg := config(t)
	cfg.RateLimits = true
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := server.Rate{Every: time.Second, Burst: 3}
	for i := range 3 {
		if d := c.Limits.Allow("x", server.ByAccount("alice"), r, 1); d != 0 {
			t.Errorf("try %d: got %v, want at once", i, d)
		}
	}
	if d := c.Limits.Allow("x", server.ByAccount("alice"), r, 1); d != time.Second {
		t.Errorf("one too many: got %v, want to wait a second", d)
	}
	if d := c.Limits.Allow("x", server.ByAccount("bob"), r, 3); d != 0 {
		t.Errorf("someone else: got %v, want at once", d)
	}
	now.Add(1)
	if d := c.Limits.Allow("x", server.ByAccount("alice"), r, 1); d != 0 {
		t.Errorf("a second later: got %v, want at once", d)
	}
}

// TestLimitsRememberWhoIsLimited: however many names a client makes up, one
// that is limited stays so, and the memory stays bounded.
func TestLimitsRememberWhoIsLimited(t *testing.T) {
	t.Parallel()
	var now atomic.Int64 // in seconds
	cfg := config(t)
	cfg.RateLimits = true
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := server.Rate{Every: time.Minute, Burst: 3}
	use := func(who string, n int) (wait time.Duration) {
		for range n {
			wait = c.Limits.Allow("x", server.ByAccount(who), r, 1)
		}
		return wait
	}
	// Idle buckets, which are full again in three minutes, go first.
	for i := range 19_990 {
		use("idle"+strconv.Itoa(i), 1)
	}
	now.Add(3*60 + 1)
	for _, who := range []string{"alice", "bob"} {
		if got := use(who, 4); got == 0 {
			t.Fatalf("%s is not limited after four tries", who)
		}
	}
	for round := range 3 {
		for i := range 20_000 {
			use(strconv.Itoa(round)+" "+strconv.Itoa(i), 1)
		}
		for _, who := range []string{"alice", "bob"} {
			if got := use(who, 1); got == 0 {
				t.Errorf("round %d: %s is not limited any more", round, who)
			}
		}
		if got := c.Limits.Len(); got > 20_000 {
			t.Errorf("round %d: %d buckets, want at most 20,000", round, got)
		}
	}
}
