package incoming_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// withBodies starts a server with a time for bodies.
func withBodies(t *testing.T, timeout time.Duration) *quintatest.Server {
	t.Helper()
	return quintatest.Start(t, quintatest.Configure(func(c *server.Config) { c.BodyTimeout = timeout }))
}

// half connects and sends the head of a request that announces a body of 64 KiB,
// and one byte of it.
func half(t *testing.T, s *quintatest.Server, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: hs1\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n{", path); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAttackHalfRequests: 500 requests on every network that answers HTTP, and
// on a path that nothing answers, announce the largest body that a stranger may send, and send one byte. Together
// they cost less than 20 MB, and each connection is closed when its time, 30 s
// unless set, has passed.
func TestAttackHalfRequests(t *testing.T) {
	if got := quintatest.Start(t).Core.BodyTimeout; got != 30*time.Second {
		t.Errorf("the time for a body: got %v, want 30s", got)
	}
	const patience = 8 * time.Second
	s := withBodies(t, patience)
	paths := []string{"/_matrix/client/v3/login", "/ca/v1/login", "/api/v1/login", "/xmpp/v1/keys", "/nothing"}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var conns []net.Conn
	began := time.Now()
	for i := range 500 {
		conns = append(conns, half(t, s, paths[i%len(paths)]))
	}
	time.Sleep(time.Second) // for the server to begin to read the last ones
	runtime.GC()
	runtime.ReadMemStats(&after)
	if time.Since(began) < patience { // else a slow machine has closed some already
		grown := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)
		if grown > 20<<20 {
			t.Errorf("500 half requests take %d bytes, want under 20 MiB", grown)
		}
	}
	for i, c := range conns {
		c.SetReadDeadline(time.Now().Add(3 * patience))
		_, err := io.Copy(io.Discard, c)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatalf("%s is still open after %v", paths[i%len(paths)], time.Since(began))
		}
	}
}

// TestSlowBody: a body that comes at more than 16 KiB a second may take longer
// than its first time.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	s := withBodies(t, time.Second)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const pieces, size = 8, 8 << 10
	fmt.Fprintf(c, "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: hs1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", pieces*size)
	for range pieces {
		if _, err := c.Write(bytes.Repeat([]byte(" "), size)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	answer, err := io.ReadAll(c)
	if err != nil || strings.Contains(string(answer), "could not be read") || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
		t.Errorf("got %.200q %v, want that the whole body was read", answer, err)
	}
}

// TestBodiesBound: while 128 MiB of bodies are being read a large one is
// refused, a small one is not, and afterwards all is given back.
func TestBodiesBound(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t).Core
	read := func(size int) error {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", bytes.NewReader(make([]byte, size)))
		_, err := incoming.Body(core, httptest.NewRecorder(), r, 1<<20)
		return err
	}
	if !core.Bodies.Hold(128 << 20) {
		t.Fatal("there is no room for 128 MiB")
	}
	if err := read(1 << 20); !errors.Is(err, incoming.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if err := read(20 << 10); err != nil {
		t.Errorf("a small body: got %v", err)
	}
	core.Bodies.Free(128 << 20)
	for range 200 {
		if err := read(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	if !core.Bodies.Hold(128 << 20) {
		t.Error("not all was given back")
	}
}
