package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// A wire answers each line of a raw connection with the line, until the server
// stops; "panic" panics, "stay" does not heed the stop, "linger" closes the
// connection and works on, "flood" writes more than a peer takes.
type wire struct {
	bare
	core    *server.Core
	addrs   []string
	running atomic.Int32
	ended   chan error
}

func (w *wire) Streams() []string { return w.addrs }

func (w *wire) ServeStream(ctx context.Context, c net.Conn) {
	w.running.Add(1)
	defer w.running.Add(-1)
	stopping := make(chan struct{})
	defer close(stopping)
	go func() {
		select {
		case <-w.core.Draining():
			c.SetReadDeadline(time.Now())
		case <-stopping:
		}
	}()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		switch lines.Text() {
		case "panic":
			panic("oops")
		case "stay":
			io.WriteString(c, "staying\n")
			<-ctx.Done()
			return
		case "linger":
			c.Close()
			<-w.core.Draining()
			<-time.After(100 * time.Millisecond) // what the front still has to do
			return
		case "flood":
			_, err := c.Write(make([]byte, 64<<20))
			w.ended <- err
			return
		}
		fmt.Fprintln(c, lines.Text())
	}
}

// A streamed is a server with a wire.
type streamed struct {
	t       *testing.T
	core    *server.Core
	wire    *wire
	streams []server.Stream
	url     string
	log     *syncBuffer
	stop    context.CancelFunc
	stopped chan error
}

// serveStreams serves a wire beside other networks.
func serveStreams(t *testing.T, change func(*server.Config), others ...server.Network) *streamed {
	t.Helper()
	s := &streamed{t: t, wire: &wire{addrs: []string{"127.0.0.1:0", "127.0.0.1:0"}, ended: make(chan error, 1)}, log: &syncBuffer{}, stopped: make(chan error, 1)}
	cfg := config(t)
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	cfg.Metrics = server.NewMetrics()
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.core, err = server.Open(t.Context(), cfg, append(others, network("wire", s.wire))); err != nil {
		t.Fatal(err)
	}
	s.wire.core = s.core
	open := func(_ quinta.NetworkName, addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	if s.streams, err = s.core.Listen(open); err != nil {
		t.Fatal(err)
	}
	l, err := open("", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.stopped <- s.core.Serve(ctx, l, s.core.Handler(http.NotFoundHandler()), nil) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-s.stopped:
			if err := errors.Join(err, s.core.Close()); err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the server does not stop")
		}
	})
	return s
}

// dial opens a connection that the test closes.
func (s *streamed) dial(stream int) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.streams[stream].Addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// say sends a line and returns the answer; "" means that the connection ended.
func (s *streamed) say(c net.Conn, line string) string {
	fmt.Fprintln(c, line)
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(answer)
}

// metric returns the lines of the metrics that begin so.
func (s *streamed) metric(name string) string {
	w := httptest.NewRecorder()
	s.core.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var out []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, name) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("this never happened: " + what)
		}
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, nil, network("silent", &wire{}))
	if len(s.streams) != 2 || s.streams[0].Addr.String() == s.streams[1].Addr.String() || s.streams[0].Network != "wire" {
		t.Fatalf("got the streams %v, want two of the wire", s.streams)
	}
	if got, want := s.streams[0].URL(), "tcp://"+s.streams[0].Addr.String(); got != want {
		t.Errorf("got the URL %s, want %s", got, want)
	}
	a, b := s.dial(0), s.dial(1)
	if got := s.say(a, "hello") + s.say(b, "there"); got != "hellothere" {
		t.Errorf("got %q", got)
	}
	if got := s.metric(`quinta_connections{network="wire"`); got != `quinta_connections{network="wire"} 2` {
		t.Errorf("got the gauge %q, want two connections", got)
	}
	// A panic ends its own connection alone.
	if got := s.say(a, "panic"); got != "" {
		t.Errorf("after a panic: got %q, want the end", got)
	}
	if got := s.say(b, "still"); got != "still" {
		t.Errorf("beside a panic: got %q", got)
	}
	eventually(t, "the gauge goes back to one", func() bool { return strings.HasSuffix(s.metric(`quinta_connections{network="wire"`), " 1") })
	if log := s.log.String(); !strings.Contains(log, "a connection failed") || !strings.Contains(log, "oops") {
		t.Errorf("the log says nothing of the panic: %s", log)
	}
	// A stop ends the connections, and Serve waits for them.
	s.stop()
	if got := s.say(b, "last"); got != "" && got != "last" {
		t.Errorf("at the stop: got %q", got)
	}
	if err := <-s.stopped; err != nil {
		t.Error(err)
	}
	s.stopped <- nil
	if n := s.wire.running.Load(); n != 0 {
		t.Errorf("%d connections run on behind Serve", n)
	}
	if _, err := net.Dial("tcp", s.streams[0].Addr.String()); err == nil {
		t.Error("the stopped server takes connections")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, func(c *server.Config) { c.MaxConnectionsPerAddress = 2; c.MaxConnections = 3 })
	from := func(addr string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		c, err := d.Dial("tcp", s.streams[0].Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	first := from("127.0.0.1")
	for _, tc := range []struct {
		addr string
		want string
	}{{"127.0.0.1", "x"}, {"127.0.0.1", ""}, {"127.0.0.2", "x"}, {"127.0.0.3", ""}} {
		if got := s.say(from(tc.addr), "x"); got != tc.want {
			t.Errorf("from %s: got %q, want %q", tc.addr, got, tc.want)
		}
	}
	if got := s.metric("quinta_connections_refused_total{"); got != `quinta_connections_refused_total{network="wire"} 2` {
		t.Errorf("got the counter %q, want two that were refused", got)
	}
	// A place that is left can be taken again.
	if got := s.say(first, "x"); got != "x" {
		t.Errorf("the first one: got %q", got)
	}
	first.Close()
	eventually(t, "the place of the first one is free", func() bool { return s.say(from("127.0.0.1"), "x") == "x" })
}

// TestProxiesAreNotOneClient: behind a trusted proxy there are many clients.
func TestProxiesAreNotOneClient(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, func(c *server.Config) {
		c.MaxConnectionsPerAddress = 1
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	a, b := s.dial(0), s.dial(0)
	if got := s.say(a, "a") + s.say(b, "b"); got != "ab" {
		t.Errorf("got %q, want both connections served", got)
	}
}

// TestPeerThatDoesNotRead holds no connection for ever, be it raw or taken
// over from HTTP.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	over := taker{&wire{ended: make(chan error, 1)}}
	s := serveStreams(t, func(c *server.Config) { c.WriteTimeout = 50 * time.Millisecond }, network("take", over))
	fmt.Fprintln(s.dial(0), "flood")
	c, _, _ := s.upgrade()
	fmt.Fprintln(c, "flood")
	for name, ended := range map[string]chan error{"raw": s.wire.ended, "taken over": over.wire.ended} {
		select {
		case err := <-ended:
			if nerr, ok := errors.AsType[net.Error](err); !ok || !nerr.Timeout() {
				t.Errorf("%s: got %v, want a timeout", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: the server still writes", name)
		}
	}
}

// A taker takes connections over from HTTP and answers their lines as a wire
// does, or stays until the connection is closed.
type taker struct{ wire *wire }

func (taker) Close() error    { return nil }
func (taker) Paths() []string { return []string{"/take"} }
func (k taker) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if err := server.Reserve(w); err != nil {
		http.Error(w, "crowded", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "lines")
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	line, err := rw.ReadString('\n')
	if err != nil {
		return
	}
	if line == "flood\n" {
		_, err := rw.Write(make([]byte, 64<<20))
		k.wire.ended <- err
		return
	}
	rw.WriteString(line)
	rw.Flush()
	io.Copy(io.Discard, rw)
}

// upgrade asks for a connection that the front takes over.
func (s *streamed) upgrade() (net.Conn, *bufio.Reader, int) {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(c, "GET /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, r, resp.StatusCode
}

// TestTakenOverConnections are bounded, counted, and closed by a stop, which
// http.Server does not do.
func TestTakenOverConnections(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, func(c *server.Config) { c.MaxConnectionsPerAddress = 1; c.StopTimeout = time.Second }, network("take", taker{}))
	c, r, status := s.upgrade()
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("got %d", status)
	}
	fmt.Fprintln(c, "hello")
	if got, err := r.ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, _, status := s.upgrade(); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: got %d, want 503", status)
	}
	if got := s.metric(`quinta_connections{network="take"`); got != `quinta_connections{network="take"} 1` {
		t.Errorf("got the gauge %q, want one connection", got)
	}
	s.stop()
	if _, err := r.ReadString('\n'); err != io.EOF {
		t.Errorf("at the stop: got %v, want the end", err)
	}
	if err := <-s.stopped; err != nil {
		t.Error(err)
	}
	s.stopped <- nil
	if log := s.log.String(); !strings.Contains(log, "connections=1") {
		t.Errorf("the log does not say that a connection was cut off: %s", log)
	}
	if got := s.metric(`quinta_connections{network="take"`); got != `quinta_connections{network="take"} 0` {
		t.Errorf("got the gauge %q, want none", got)
	}
}

// TestAPlaceIsGivenBack when a request takes its connection over in the end
// not.
func TestAPlaceIsGivenBack(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, _ *http.Request) {
		if err := server.Reserve(w); err != nil {
			t.Error(err)
		}
	}
	cfg := config(t)
	cfg.MaxConnections = 1
	c := withFront(t, cfg, h)
	for range 3 {
		do(c, httptest.NewRequest(http.MethodGet, "/f/", nil))
	}
}

// TestAStopCutsOff what does not heed it, within its time.
func TestAStopCutsOff(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, func(c *server.Config) { c.StopTimeout = time.Second })
	c := s.dial(0)
	if got := s.say(c, "stay"); got != "staying" {
		t.Fatalf("got %q", got)
	}
	began := time.Now()
	s.stop()
	if err := <-s.stopped; err != nil {
		t.Error(err)
	}
	s.stopped <- nil
	if took := time.Since(began); took < 800*time.Millisecond || took > 30*time.Second {
		t.Errorf("the stop took %v, want about a second", took)
	}
	if n := s.wire.running.Load(); n != 0 {
		t.Errorf("%d connections run on behind Serve", n)
	}
}

// TestAStopWaitsForTheFront, which may outlast its connection.
func TestAStopWaitsForTheFront(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, nil)
	if got := s.say(s.dial(0), "linger"); got != "" {
		t.Fatalf("got %q, want the end", got)
	}
	s.stop()
	if err := <-s.stopped; err != nil {
		t.Error(err)
	}
	s.stopped <- nil
	if n := s.wire.running.Load(); n != 0 {
		t.Errorf("%d calls run on behind Serve", n)
	}
}

func TestListenOpensAllOrNone(t *testing.T) {
	t.Parallel()
	c, err := server.Open(t.Context(), config(t), []server.Network{network("wire", &wire{addrs: []string{"a", "b"}})})
	if err != nil {
		t.Fatal(err)
	}
	var first net.Listener
	broken := errors.New("broken")
	_, err = c.Listen(func(_ quinta.NetworkName, addr string) (net.Listener, error) {
		if addr == "b" {
			return nil, broken
		}
		first, err = net.Listen("tcp", "127.0.0.1:0")
		return first, err
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the first listener: got %v, want it closed", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// An asker wants client certificates.
type asker struct {
	site
	asks bool
}

func (a asker) AsksCertificates() bool { return a.asks }

func TestClientCertificatesAreAskedFor(t *testing.T) {
	t.Parallel()
	for _, asks := range []bool{true, false} {
		c, err := server.Open(t.Context(), config(t), []server.Network{network("a", asker{site{paths: []string{"/a/"}}, asks})})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pair := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
		pair.Close()
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() {
			stopped <- c.Serve(ctx, l, c.Handler(http.NotFoundHandler()), &tls.Config{Certificates: pair.TLS.Certificates})
		}()
		asked := false
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return new(tls.Certificate), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if asked != asks {
			t.Errorf("asked for a certificate: got %v, want %v", asked, asks)
		}
		cancel()
		if err := errors.Join(<-stopped, c.Close()); err != nil {
			t.Error(err)
		}
	}
}
