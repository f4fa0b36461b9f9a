package mtprotoclient_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// A house is a server that can be stopped and started again at its address.
type house struct {
	*quintatest.Server
	t    *testing.T
	path string
	tcp  string
	web  string
	stop func()
}

// up starts the server.
func (h *house) up() {
	h.t.Helper()
	core, err := server.Open(context.Background(), server.Config{Name: "hs1", Now: time.Now, Rand: rand.Reader, DB: db.Config{Path: h.path}, Settings: map[string]string{"mtproto-listen": h.tcp}}, []server.Network{mtprotoserver.Network})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := core.Listen(func(_ quinta.NetworkName, addr string) (net.Listener, error) { return net.Listen("tcp", addr) }); err != nil {
		h.t.Fatal(err)
	}
	h.tcp = core.Streams()[0].Addr.String()
	l, err := net.Listen("tcp", h.web)
	if err != nil {
		h.t.Fatal(err)
	}
	h.web = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- core.Serve(ctx, l, core.Handler(http.NotFoundHandler()), nil) }()
	h.Server = &quintatest.Server{URL: "http://" + h.web, Core: core}
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("stopping the server: %v", err)
		}
		if err := core.Close(); err != nil {
			h.t.Errorf("closing the server: %v", err)
		}
	}
}

// TestServerRestarts: keys, logins, chats and queues survive a restart of the
// server, and clients that are running continue by themselves.
func TestServerRestarts(t *testing.T) {
	h := &house{t: t, path: filepath.Join(t.TempDir(), "quinta.db"), tcp: "127.0.0.1:0", web: "127.0.0.1:0"}
	h.up()
	t.Cleanup(func() { h.stop() })
	alice, bob := login(t, h.Server, "alice"), login(t, h.Server, "bob")
	id := alice.opens(bob)
	bob.kill()
	for i := range 3 {
		alice.says(id, fmt.Sprint("before ", i))
	}
	alice.until("that all was sent", func() bool { return alice.sent("before 2") })
	h.stop()
	alice.says(id, "while the server was away")
	h.up()
	bob.boot()
	for i := range 3 {
		bob.reads(fmt.Sprint("before ", i))
	}
	bob.reads("while the server was away")
	bob.says(id, "all is well")
	alice.reads("all is well")
	for _, text := range []string{"before 0", "before 1", "before 2", "while the server was away"} {
		if n := bob.count(text); n != 1 {
			t.Errorf("%q was read %d times, want once", text, n)
		}
	}
}
