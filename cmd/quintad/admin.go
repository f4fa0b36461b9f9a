package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

// serveAdmin serves health and metrics until ctx ends.
func serveAdmin(ctx context.Context, p *program, c *config.Config, core *server.Core) (wait func() error, err error) {
	l, err := listen(c.AdminListen, "--admin-listen")
	if err != nil {
		return nil, err
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		core.Log.Warn("the admin listener is not on loopback and has no login: make sure that strangers cannot reach it", "address", a.String())
	}
	fmt.Fprintf(p.stdout, "quintad: admin http://%s\n", l.Addr())
	hosts := c.AdminHosts
	if host, _, err := net.SplitHostPort(c.AdminListen); err == nil && host != "" {
		hosts = append(hosts[:len(hosts):len(hosts)], host)
	}
	return serveSide(ctx, l, core.Admin(hosts...), core.Log), nil
}

// serveSide serves a listener beside the main one until ctx ends. wait
// returns once what was running then is done, or cut off after
// server.StopTimeout.
func serveSide(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) (wait func() error) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 2)
	go func() {
		err := s.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	go func() {
		<-ctx.Done()
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.StopTimeout)
		defer cancel()
		err := s.Shutdown(sctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		ended <- err
	}()
	return func() error {
		if err := errors.Join(<-ended, <-ended); err != nil {
			return fmt.Errorf("%s: %w", l.Addr(), err)
		}
		return nil
	}
}
