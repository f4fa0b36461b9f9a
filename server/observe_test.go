package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server"
)

// A front that does what its handler does.
type front struct{ http.HandlerFunc }

func (front) Paths() []string { return []string{"/f/"} }
func (front) Close() error    { return nil }

// withFront opens a core with one front.
func withFront(t *testing.T, cfg server.Config, h http.HandlerFunc) *server.Core {
	t.Helper()
	c, err := server.Open(t.Context(), cfg, []server.Network{{Name: "f", New: func(*server.Core) (server.Front, error) { return front{h}, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// do sends one request through the whole handler.
func do(c *server.Core, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	return w
}

// A syncBuffer is a log that several goroutines may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRequestLogHoldsNothingOfTheRequest(t *testing.T) {
	t.Parallel()
	log := &syncBuffer{}
	cfg := config(t)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		server.SetRoute(w, "/f/{what}")
		switch {
		case strings.HasSuffix(r.URL.Path, "/panic"):
			panic("oops")
		case strings.HasSuffix(r.URL.Path, "/broken"):
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	for _, path := range []string{"/f/SECRET1?access_token=SECRET2", "/f/SECRET1/panic?x=SECRET2", "/f/SECRET1/broken", "/SECRET1"} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("SECRET3"))
		r.Header.Set("Authorization", "Bearer SECRET4")
		do(c, r)
	}
	do(c, httptest.NewRequest("SECRET5", "/f/x", nil))
	got := log.String()
	if strings.Contains(got, "SECRET") {
		t.Errorf("the log holds what the request held:\n%s", got)
	}
	for _, want := range []string{
		"level=DEBUG msg=request method=POST route=/f/{what} status=200",
		"level=WARN msg=request method=POST route=/f/{what} status=500",
		"level=WARN msg=request method=POST route=/f/{what} status=502",
		"level=DEBUG msg=request method=POST route=none status=404",
		"method=other",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got no line %q in\n%s", want, got)
		}
	}
}

// scrape returns what the admin listener says.
func scrape(c *server.Core, path string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:9090"
	c.Admin().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestAttackRebinding: a page whose name leads to the admin listener is not
// answered.
func TestAttackRebinding(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Metrics = server.NewMetrics()
	c := withFront(t, cfg, nil)
	for host, ok := range map[string]bool{
		"127.0.0.1:9090": true, "[::1]:9090": true, "10.1.2.3": true, "localhost:9090": true, "LOCALHOST": true, "quintad:9090": true, "Q.example.org": true,
		"evil.example:9090": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "": false, "quintad.evil.example:9090": false, "[evil]": false,
	} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			c.Admin("quintad", "q.example.org").ServeHTTP(w, r)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusMisdirectedRequest}[ok]; w.Code != want {
				t.Errorf("%s called %q: got %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Metrics = server.NewMetrics()
	c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		server.SetRoute(w, "/f/{what}")
		io.Copy(w, strings.NewReader("body"))
	})
	for range 3 {
		do(c, httptest.NewRequest(http.MethodGet, "/f/a", nil))
	}
	do(c, httptest.NewRequest(http.MethodGet, "/g", nil))
	w := c.Hub.Wait("k")
	defer w.Close()
	if err := c.AddAccount(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	code, got := scrape(c, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("got status %d", code)
	}
	for _, want := range []string{
		`quinta_requests_total{method="GET",route="/f/{what}",status="200"} 3`,
		`quinta_requests_total{method="GET",route="none",status="404"} 1`,
		`quinta_request_seconds_count{method="GET",route="/f/{what}"} 3`,
		"quinta_waiters 1",
		"go_goroutines",
		"process_resident_memory_bytes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
	for _, name := range []string{"quinta_store_commits_total", "quinta_store_writes_total", "quinta_store_syncs_total"} {
		if !strings.Contains(got, "\n"+name+" ") || strings.Contains(got, "\n"+name+" 0\n") {
			t.Errorf("%s is missing or zero after a write", name)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := scrape(c, path); code != http.StatusOK {
			t.Errorf("%s: got %d %s", path, code, body)
		}
	}
	if code, _ := scrape(c, "/metrics"); code != http.StatusNotFound {
		t.Errorf("metrics without metrics: got %d, want 404", code)
	}
	if err := c.DB.Close(); err != nil {
		t.Fatal(err)
	}
	if code, body := scrape(c, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "store") {
		t.Errorf("a closed store: got %d %q, want 503", code, body)
	}
	if code, _ := scrape(c, "/healthz"); code != http.StatusOK {
		t.Errorf("the process lives, got %d", code)
	}
}

func TestNotReadyWhileStopping(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := listener(t)
	if err := c.Serve(ctx, l, http.NotFoundHandler(), nil); err != nil {
		t.Fatal(err)
	}
	if code, body := scrape(c, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
		t.Errorf("got %d %q, want that it is stopping", code, body)
	}
}

func TestClientAddressBehindProxies(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	for _, tc := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"from the proxy", "10.0.0.1:1234", []string{"192.0.2.7"}, "192.0.2.7:0"},
		{"nothing forwarded", "10.0.0.1:1234", nil, "10.0.0.1:1234"},
		{"from a stranger", "192.0.2.1:1234", []string{"192.0.2.7"}, "192.0.2.1:1234"},
		{"made up by the client", "10.0.0.1:1234", []string{"203.0.113.5, 192.0.2.7"}, "192.0.2.7:0"},
		{"two proxies", "10.0.0.1:1234", []string{"203.0.113.5, 192.0.2.7, 10.0.0.2"}, "192.0.2.7:0"},
		{"two headers", "10.0.0.1:1234", []string{"203.0.113.5", "192.0.2.7"}, "192.0.2.7:0"},
		{"only proxies", "10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"no address", "10.0.0.1:1234", []string{"unknown"}, "10.0.0.1:1234"},
		{"v6", "[::1]:1234", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"v4 in v6", "[::ffff:10.0.0.1]:1234", []string{"192.0.2.7"}, "192.0.2.7:0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/f/x", nil)
			r.RemoteAddr = tc.peer
			for _, f := range tc.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			if got := do(c, r).Body.String(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestClientThatDoesNotRead: an answer that no one takes ends.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"write", "copy"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			cfg.WriteTimeout = 50 * time.Millisecond
			ended := make(chan error, 1)
			c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) {
				var err error
				if way == "copy" {
					_, err = io.Copy(w, zeros{})
				}
				for err == nil {
					_, err = w.Write(make([]byte, 64<<10))
				}
				ended <- err
			})
			l := listener(t)
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- c.Serve(ctx, l, c.Handler(http.NotFoundHandler()), nil) }()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /f/x HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want that the time is over", err)
				}
			case <-time.After(time.Minute):
				t.Error("the answer goes on")
			}
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestWaitLongerThanPatience: a long poll, and the next request on the same
// connection, are not cut off.
func TestWaitLongerThanPatience(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.WriteTimeout = 20 * time.Millisecond
	c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(5 * cfg.WriteTimeout)
		io.WriteString(w, "answer")
	})
	s := httptest.NewServer(c.Handler(http.NotFoundHandler()))
	defer s.Close()
	for range 3 {
		resp, err := s.Client().Get(s.URL + "/f/x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "answer" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	}
}
