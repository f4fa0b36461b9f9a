// Package quintatest gives a Go test a complete running server: every
// network, a store of its own, and a free port on loopback.
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
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// A Server is a running server.
type Server struct {
	// URL is its address, such as "http://127.0.0.1:34567".
	URL string
	// Core is the server itself, for tests that look inside or make accounts
	// without the network.
	Core *server.Core
	// Streams are the open listeners of the networks that take raw
	// connections, each on a free port of loopback.
	Streams []server.Stream

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

// Networks lets only these networks run; the default is all.
func Networks(names ...quinta.NetworkName) Option {
	return func(c *server.Config) { c.Networks = names }
}

// Setting gives a setting of a network a value.
func Setting(name, value string) Option {
	return func(c *server.Config) {
		c.Settings = maps.Clone(c.Settings)
		if c.Settings == nil {
			c.Settings = map[string]string{}
		}
		c.Settings[name] = value
	}
}

// Quotas bounds what the server keeps for each account, in place of the
// defaults.
func Quotas(l quota.Limits) Option { return func(c *server.Config) { c.Quotas = l } }

// Configure changes the configuration at will.
func Configure(fn func(*server.Config)) Option { return fn }

// Start starts a server with the name "hs1", open registration, passwords that
// are hashed cheaply and no rate limits, and stops it at the end of the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return StartNetworks(t, servers.All(), opts...)
}

// StartNetworks is Start with a list of networks of its own, such as one with
// a network that is being tested.
func StartNetworks(t testing.TB, networks []server.Network, opts ...Option) *Server {
	t.Helper()
	cfg := server.Config{
		Name:         "hs1",
		Registration: server.RegistrationOpen,
		Now:          time.Now,
		Rand:         rand.Reader,
		PasswordCost: account.Cost{Memory: 64, Passes: 1},
		Log:          slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.DB.Path == "" && cfg.DB.URL == "" {
		cfg.DB.Path = filepath.Join(t.TempDir(), "quinta.db")
	}
	// The tests also run on PostgreSQL.
	cfg.DB.Rehearse = cfg.DB.Path != ""
	if cfg.BlobURL == "" && cfg.DB.Path == "" {
		cfg.BlobURL = (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "media")}).String()
	}
	if cfg.SecretsURL == "" && cfg.DB.Path == "" {
		cfg.SecretsURL = (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "secrets.key")}).String()
	}
	free := func(quinta.NetworkName, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	l, err := free("", "")
	if err != nil {
		t.Fatal(err)
	}
	core, err := server.Open(t.Context(), cfg, networks)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	streams, err := core.Listen(free)
	if err != nil {
		l.Close()
		core.Close()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- core.Serve(ctx, l, core.Handler(http.NotFoundHandler()), nil) }()
	s := &Server{URL: "http://" + l.Addr().String(), Core: core, Streams: streams}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		// The bytes counted for accounts must equal the bytes stored, whatever happened.
		if wrong, err := core.Recount(ctx); err != nil {
			t.Logf("the bytes of the accounts cannot be counted: %v", err)
		} else if wrong > 0 {
			t.Errorf("%d sums of bytes that are kept for accounts were wrong", wrong)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if err := core.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	}
	t.Cleanup(s.stop)
	// The listener takes connections before anything serves them: an answer
	// shows that the server does.
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return s
}

// Addr returns the address, "host:port", of the network's first stream
// listener. It ends the test if there is none.
func (s *Server) Addr(t testing.TB, network quinta.NetworkName) string {
	t.Helper()
	for _, st := range s.Streams {
		if st.Network == network {
			return st.Addr.String()
		}
	}
	t.Fatalf("the network %q takes no raw connections", network)
	return ""
}

// Stop stops the server before the end of the test, as a SIGTERM would.
func (s *Server) Stop() { s.stop() }
