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
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
)

// The timeouts of the listener. A front bounds its own waits.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 10 * time.Minute // a large upload over a slow line
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 2 * time.Minute // for each piece of an answer
	maxHeader     = 64 << 10
	// StopTimeout is the default of Config.StopTimeout.
	StopTimeout = 10 * time.Second
)

// Handler returns what the listener serves: every front that runs under its
// paths, and home for the rest.
func (c *Core) Handler(home http.Handler) http.Handler {
	return c.behind(c.observe(c.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range c.routes {
			if at := &c.routes[i]; at.matches(r.URL.Path) {
				answeredBy(w, at.seat.name)
				at.web.ServeHTTP(w, r)
				return
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
			if r, ok := w.(*recorder); ok && r.status != 0 {
				// The answer has begun: it must not look whole.
				panic(http.ErrAbortHandler)
			}
			http.Error(w, "internal error", http.StatusInternalServerError)
		}()
		h.ServeHTTP(w, r)
	})
}

// Serve serves h on l, and the streams that [Core.Listen] opened, and lets the
// runners run, until ctx ends. Then it stops: no new connections, long polls
// answered, requests that run finished, connections closed, at most
// Config.StopTimeout. It does not close the core. cert may be nil for plain
// HTTP. Serve is called once.
func (c *Core) Serve(ctx context.Context, l net.Listener, h http.Handler, cert *tls.Config) error {
	c.setAddress(l.Addr(), cert != nil)
	l = &gate{Listener: l, core: c}
	if cert != nil {
		l = tls.NewListener(l, c.asking(cert))
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
	sctx, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var accepting sync.WaitGroup
	for _, stream := range c.streams {
		accepting.Go(func() { c.serveStream(sctx, stream) })
	}
	endRuns := c.run(context.WithoutCancel(ctx))
	var err error
	select {
	case err = <-failed:
		failed <- http.ErrServerClosed
	case <-ctx.Done():
	}
	close(c.draining)
	end := time.Now().Add(c.StopTimeout)
	err = errors.Join(err, closeStreams(c.streams))
	accepting.Wait()
	c.conns.close()
	runs := endRuns()
	return errors.Join(err, c.drain(s, failed, end, cut, runs))
}

// drain ends what runs, and returns at the end at the latest. Shortly before
// it, what still runs is cut off.
func (c *Core) drain(s *http.Server, failed <-chan error, end time.Time, cut func(), runs <-chan struct{}) error {
	patience := time.Until(end)
	quiet := make(chan struct{})
	go func() { c.conns.busy.Wait(); close(quiet) }()
	soon, cancel := context.WithTimeout(context.Background(), patience-patience/10)
	defer cancel()
	err := s.Shutdown(soon)
	if errors.Is(err, context.DeadlineExceeded) {
		c.Log.Warn("server: requests that were still running when the time for stopping ended were cut off")
		err = s.Close()
	}
	if serr := <-failed; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	select {
	case <-quiet:
	case <-soon.Done():
		c.Log.Warn("server: connections that were still open when the time for stopping ended were cut off", "connections", c.conns.cut())
	}
	cut()
	last, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	for what, done := range map[string]<-chan struct{}{"connections": quiet, "runners": runs} {
		select {
		case <-done:
		case <-last.Done():
			c.Log.Error("server: the store is being closed although some work did not end in time", "what", what)
		}
	}
	return err
}

// asking returns the TLS configuration, which asks for client certificates if
// a front that runs can use them.
func (c *Core) asking(cert *tls.Config) *tls.Config {
	for _, s := range c.running {
		if a, ok := s.front.(CertificateAsker); ok && a.AsksCertificates() {
			cert = cert.Clone()
			cert.ClientAuth = tls.RequestClientCert
			return cert
		}
	}
	return cert
}

// run begins every runner, and the sweeps. end asks them to end; what it
// returns is closed when all have.
func (c *Core) run(ctx context.Context) (end func() <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.sweepAlways(ctx) })
	wg.Go(func() { c.Blobs.Run(ctx) })
	for _, s := range c.running {
		if r, ok := s.front.(Runner); ok {
			wg.Go(func() { c.runOne(ctx, s.name, r) })
		}
	}
	return func() <-chan struct{} {
		cancel()
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		return ended
	}
}

// runOne runs one runner. Its failure, or its panic, is its own.
func (c *Core) runOne(ctx context.Context, name quinta.NetworkName, r Runner) {
	defer func() {
		if p := recover(); p != nil {
			c.Log.Error("server: a runner failed", "network", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	if err := r.Run(ctx); err != nil && ctx.Err() == nil {
		c.Log.Error("server: a runner failed", "network", name, "err", err)
	}
}

// setAddress keeps the address under which the server listens, if it is one of
// this machine alone: a client elsewhere reaches it by Config.PublicURL.
func (c *Core) setAddress(a net.Addr, secure bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsLoopback() {
		return
	}
	url := "http://" + t.String()
	if secure {
		url = "https://" + t.String()
	}
	c.local.Store(&url)
}

// ClientURL returns the address that clients are to use: PublicURL, or that of
// the listener if it is on loopback. It is empty if there is neither, and before
// Serve.
func (c *Core) ClientURL() string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	if url := c.local.Load(); url != nil {
		return *url
	}
	return ""
}
