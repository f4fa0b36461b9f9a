// Package quintatest gives a Go test a whole running server: every network, a
// store of its own, a free port on loopback.
//
//	s := quintatest.Start(t)
//	resp, err := http.Get(s.URL + "/_matrix/client/versions")
//
// It stops at the end of the test.
package quintatest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// A Server is a running server.
type Server struct {
	// URL is its address, such as "http://127.0.0.1:34567".
	URL string
	// Core is the server itself, for tests that look inside or make accounts
	// without the network.
	Core *server.Core

	stop func()
}

// An Option changes how Start makes the server.
type Option func(*server.Config)

// Database uses the store of the configuration instead of a fresh embedded
// one. Its clock and log are set by Start.
func Database(cfg db.Config) Option { return func(c *server.Config) { c.DB = cfg } }

// Registration says who may register; the default is open.
func Registration(r server.Registration) Option {
	return func(c *server.Config) { c.Registration = r }
}

// RateLimits switches the limits on, which a test server has off.
func RateLimits() Option { return func(c *server.Config) { c.RateLimits = true } }

// Clock hands the server another clock.
func Clock(now func() time.Time) Option { return func(c *server.Config) { c.Now = now } }

// Configure changes the configuration at will.
func Configure(fn func(*server.Config)) Option { return fn }

// Start starts a server with the name "hs1", open registration and no rate
// limits, and stops it at the end of the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	cfg := server.Config{
		Name:         "hs1",
		Registration: server.RegistrationOpen,
		Now:          time.Now,
		Rand:         rand.Reader,
		Log:          slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.DB.Path == "" && cfg.DB.URL == "" {
		cfg.DB.Path = filepath.Join(t.TempDir(), "quinta.db")
	}
	if cfg.BlobURL == "" && cfg.DB.Path == "" {
		cfg.BlobURL = (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "media")}).String()
	}
	if cfg.SecretsURL == "" && cfg.DB.Path == "" {
		cfg.SecretsURL = (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "secrets.key")}).String()
	}
	core, err := server.Open(t.Context(), cfg, servers.All())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		core.Close()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- core.Serve(ctx, l, core.Handler(http.NotFoundHandler()), nil) }()
	s := &Server{URL: "http://" + l.Addr().String(), Core: core}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if err := core.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

// Stop stops the server before the end of the test, as a SIGTERM would.
func (s *Server) Stop() { s.stop() }
