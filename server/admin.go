package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/server/db"
)

// readyTimeout bounds how long the store may take to answer before the server
// counts as not ready.
const readyTimeout = 2 * time.Second

// Admin returns what the admin listener serves: /healthz says that the
// process lives, /readyz that it can answer, /metrics what it does. It has no
// login; its listener must be out of strangers' reach. hosts are the names by
// which it may be called, besides "localhost" and IP addresses: a web page
// that makes its own name lead here (DNS rebinding) gets no answer.
func (c *Core) Admin(hosts ...string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := c.ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if c.Metrics != nil {
		mux.Handle("GET /metrics", c.Metrics)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !calledBy(r.Host, hosts) {
			http.Error(w, "this listener does not answer to that name: see the setting admin-hosts", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// calledBy reports whether a Host header is an address, "localhost", or one of
// the hosts.
func calledBy(host string, hosts []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// ready says why the server cannot answer now, or returns nil.
func (c *Core) ready(ctx context.Context) error {
	select {
	case <-c.draining:
		return fmt.Errorf("the server is stopping")
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err := c.View(ctx, func(tx *db.Tx) error {
		_, err := tx.Pos()
		return err
	})
	if err != nil {
		return fmt.Errorf("the store does not answer")
	}
	return nil
}
