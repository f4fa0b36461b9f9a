package socket_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/network/internal/socket"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// An echo is a front that sends every message back.
type echo struct {
	core *server.Core
	cfg  socket.Config
	// ended gets a value for each connection that ended, and refused for each
	// request that was refused.
	ended, refused chan struct{}
}

func (e *echo) Close() error    { return nil }
func (e *echo) Paths() []string { return []string{"/echo"} }
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := socket.Serve(e.core, w, r, e.cfg, func(ctx context.Context, c *socket.Conn) {
		defer func() { <-ctx.Done(); e.ended <- struct{}{} }()
		for {
			p, err := c.Read()
			switch string(p) {
			case "bye":
				c.Close(socket.Policy, "as you like")
			case "panic":
				c.Close(socket.Internal, "")
				panic("oops")
			case "flood":
				p = make([]byte, 64<<20)
			case "wait":
				<-ctx.Done()
				continue
			}
			if err != nil {
				return
			}
			if err := c.Write(p); err != nil {
				return
			}
		}
	})
	if err == socket.ErrRefused {
		e.refused <- struct{}{}
	}
}

// start serves an echo.
func start(t *testing.T, cfg socket.Config, opts ...quintatest.Option) (*quintatest.Server, *echo) {
	t.Helper()
	e := &echo{cfg: cfg, ended: make(chan struct{}, 100), refused: make(chan struct{}, 100)}
	n := server.Network{Name: "echo", New: func(c *server.Core) (server.Front, error) { e.core = c; return e, nil }}
	opts = append(opts, quintatest.Configure(func(c *server.Config) { c.Metrics = server.NewMetrics() }))
	return quintatest.StartNetworks(t, []server.Network{n}, opts...), e
}

// dial opens a websocket with a real client.
func dial(t *testing.T, s *quintatest.Server, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), s.URL+"/echo", opts)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// say sends a text and returns the answer.
func say(t *testing.T, c *websocket.Conn, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", err
	}
	_, p, err := c.Read(ctx)
	return string(p), err
}

// within waits for a value of c.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("this never happened: " + what)
	}
}

// open returns the gauge of open connections.
func open(s *quintatest.Server) string {
	w := httptest.NewRecorder()
	s.Core.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, rest, _ := strings.Cut(w.Body.String(), `quinta_connections{network="echo"} `)
	n, _, _ := strings.Cut(rest, "\n")
	return n
}

func TestTalk(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 1 << 20, Subprotocols: []string{"ddp", "other"}})
	c := dial(t, s, &websocket.DialOptions{Subprotocols: []string{"other", "ddp"}})
	if got := c.Subprotocol(); got != "ddp" {
		t.Errorf("got the subprotocol %q", got)
	}
	for _, text := range []string{"hello", "", strings.Repeat("x", 1<<20)} {
		if got, err := say(t, c, text); err != nil || got != text {
			t.Errorf("%.10q: got %.10q, %v", text, got, err)
		}
	}
	if got := open(s); got != "1" {
		t.Errorf("got the gauge %q, want 1", got)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	within(t, "the connection ended", e.ended)
	s.Stop()
	if got := open(s); got != "0" {
		t.Errorf("got the gauge %q, want 0", got)
	}
}

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100})
	for _, tc := range []struct {
		name string
		kind websocket.MessageType
		send string
		want websocket.StatusCode
	}{
		{"too large", websocket.MessageText, strings.Repeat("x", 101), websocket.StatusMessageTooBig},
		{"of the other kind", websocket.MessageBinary, "x", websocket.StatusUnsupportedData},
		{"by the front", websocket.MessageText, "bye", websocket.StatusPolicyViolation},
		{"after a panic", websocket.MessageText, "panic", websocket.StatusInternalError},
	} {
		c := dial(t, s, nil)
		if err := c.Write(t.Context(), tc.kind, []byte(tc.send)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != tc.want {
			t.Errorf("%s: got %v, want code %d", tc.name, err, tc.want)
		}
		within(t, tc.name+": the connection ended", e.ended)
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	s, _ := start(t, socket.Config{Limit: 100, Binary: true})
	c := dial(t, s, nil)
	want := []byte{0, 255, 1}
	if err := c.Write(t.Context(), websocket.MessageBinary, want); err != nil {
		t.Fatal(err)
	}
	if kind, got, err := c.Read(t.Context()); err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, want) {
		t.Errorf("got %v %v, %v", kind, got, err)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100, Origins: []string{"app.example.org", "*.example.net"}},
		quintatest.Configure(func(c *server.Config) { c.PublicURL = "https://chat.example.org" }))
	for origin, ok := range map[string]bool{
		"": true, s.URL: true, "https://chat.example.org": true, "https://app.example.org": true, "https://a.example.net": true,
		"https://example.org": false, "https://evil.example.com": false, "https://chat.example.org.evil.example": false, "null": false, "https://example.net": false,
	} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		c, resp, err := websocket.Dial(t.Context(), s.URL+"/echo", &websocket.DialOptions{HTTPHeader: h})
		if (err == nil) != ok {
			t.Errorf("from %q: got %v, want let in %v", origin, err, ok)
		}
		if err == nil {
			c.CloseNow()
		} else if within(t, "the refusal", e.refused); resp.StatusCode != http.StatusForbidden {
			t.Errorf("from %q: got %d, want 403", origin, resp.StatusCode)
		}
	}
}

func TestPlainRequestIsRefused(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100})
	resp, err := http.Get(s.URL + "/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %d, want 426", resp.StatusCode)
	}
	within(t, "the refusal", e.refused)
}

func TestTooManyOfOneAddress(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100}, quintatest.Configure(func(c *server.Config) { c.MaxConnectionsPerAddress = 2 }))
	first := dial(t, s, nil)
	dial(t, s, nil)
	_, resp, err := websocket.Dial(t.Context(), s.URL+"/echo", nil)
	if err == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "30" {
		t.Fatalf("got %v, %v, want 429 and when to try again", resp, err)
	}
	within(t, "the refusal", e.refused)
	if err := first.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		c, _, err := websocket.Dial(t.Context(), s.URL+"/echo", nil)
		if err == nil {
			c.CloseNow()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of the first one is not free")
		}
	}
}

// TestStopGoesAway: a client hears that the server goes away, and the server
// does not stop before its connections have ended.
func TestStopGoesAway(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100})
	c := dial(t, s, nil)
	if _, err := say(t, c, "hello"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 1)
	go func() { _, _, err := c.Read(t.Context()); heard <- err }()
	s.Stop()
	select {
	case <-e.ended:
	default:
		t.Error("the server stopped before its connection had ended")
	}
	if err := <-heard; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want that the server goes away", err)
	}
}

// TestPings: a client that answers them stays, one that does not is dropped.
func TestPings(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100, Ping: 10 * time.Millisecond}, quintatest.Configure(func(c *server.Config) { c.WriteTimeout = 200 * time.Millisecond }))
	pinged := make(chan struct{}, 1000)
	c := dial(t, s, &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		select {
		case pinged <- struct{}{}:
		default:
		}
		return true
	}})
	go c.Read(t.Context())
	for range 5 {
		within(t, "a ping", pinged)
	}
	select {
	case <-e.ended:
		t.Error("a client that answers was dropped")
	default:
	}
	c.CloseNow()
	within(t, "the first connection ended", e.ended)
	silent := dial(t, s, &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	_, _, err := silent.Read(t.Context())
	if err == nil {
		t.Error("a client that does not answer was sent something")
	}
	within(t, "the silent connection ended", e.ended)
}

// TestPeerThatDoesNotRead is dropped, and holds no memory for ever.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s, e := start(t, socket.Config{Limit: 100}, quintatest.Configure(func(c *server.Config) { c.WriteTimeout = 100 * time.Millisecond }))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	// A masked frame with the text "flood", under a mask of zeros.
	conn.Write(append([]byte{0x81, 0x85, 0, 0, 0, 0}, "flood"...))
	within(t, "the connection ended", e.ended)
}
