package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// The timeouts of the listener. A front bounds its own waits.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 10 * time.Minute // a large upload over a slow line
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 2 * time.Minute // for each piece of an answer
	maxHeader     = 64 << 10
	// StopTimeout bounds how long a stop waits for requests that run.
	StopTimeout = 10 * time.Second
)

// Handler returns what the listener serves: every front under its paths, and
// home for the rest.
func (c *Core) Handler(home http.Handler) http.Handler {
	return c.behind(c.observe(c.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range c.fronts {
			for _, p := range f.Paths() {
				if strings.HasPrefix(r.URL.Path, p) {
					f.ServeHTTP(w, r)
					return
				}
			}
		}
		home.ServeHTTP(w, r)
	}))))
}

// guard keeps one request's panic from taking the connection's other work
// along, and logs it without anything that the request held.
func (c *Core) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			c.Log.Error("server: a request failed", "method", r.Method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			http.Error(w, "internal error", http.StatusInternalServerError)
		}()
		h.ServeHTTP(w, r)
	})
}

// Serve serves h on l until ctx ends, and then stops: no new connections,
// long polls answered, requests that run finished, at most StopTimeout. It
// does not close the core. cert may be nil for plain HTTP.
func (c *Core) Serve(ctx context.Context, l net.Listener, h http.Handler, cert *tls.Config) error {
	if cert != nil {
		l = tls.NewListener(l, cert)
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	close(c.draining)
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	err := s.Shutdown(sctx)
	if errors.Is(err, context.DeadlineExceeded) {
		c.Log.Warn("server: requests still running at the end of the stop were cut off")
		err = s.Close()
	}
	if serr := <-failed; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}
