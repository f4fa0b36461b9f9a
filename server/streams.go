package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Stream is an open listener of a network that takes raw connections.
type Stream struct {
	Network quinta.NetworkName
	// Addr is where it listens.
	Addr net.Addr

	listener net.Listener
	front    StreamFront
}

// URL returns the address of the stream, such as "tcp://127.0.0.1:443".
func (s Stream) URL() string { return "tcp://" + s.Addr.String() }

// Listen opens the listeners of the networks that run and take raw
// connections, with open, and returns them. [Core.Serve] serves them. It opens
// all of them or none.
func (c *Core) Listen(open func(network quinta.NetworkName, addr string) (net.Listener, error)) ([]Stream, error) {
	var streams []Stream
	for _, s := range c.running {
		front, ok := s.front.(StreamFront)
		if !ok {
			continue
		}
		for _, addr := range front.Streams() {
			l, err := open(s.name, addr)
			if err != nil {
				return nil, errors.Join(err, closeStreams(streams))
			}
			streams = append(streams, Stream{Network: s.name, Addr: l.Addr(), listener: l, front: front})
		}
	}
	c.streams = append(c.streams, streams...)
	return streams, nil
}

// Streams returns the listeners that Listen opened.
func (c *Core) Streams() []Stream { return c.streams }

func closeStreams(streams []Stream) error {
	var errs []error
	for _, s := range streams {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// The waits after an accept that failed, such as for want of descriptors.
const (
	acceptFirst    = 5 * time.Millisecond
	acceptMostWait = time.Second
)

// serveStream accepts connections until the listener is closed.
func (c *Core) serveStream(ctx context.Context, s Stream) {
	wait := acceptFirst
	for {
		nc, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.Log.Warn("server: a connection could not be accepted", "network", s.Network, "err", err)
			select {
			case <-c.draining:
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, acceptMostWait)
			continue
		}
		wait = acceptFirst
		p, err := c.conns.enter(s.Network, nc.RemoteAddr().String())
		if err != nil {
			c.Log.Debug("server: a connection was refused", "network", s.Network, "err", err)
			var _ = nc.Close() // the peer sees the end, whatever comes of it
			continue
		}
		held := c.conns.hold(p, nc)
		c.conns.busy.Go(func() { c.serveConnection(ctx, s, held) })
	}
}

// serveConnection serves one connection and survives a panic of its front.
func (c *Core) serveConnection(ctx context.Context, s Stream, nc net.Conn) {
	defer func() {
		if p := recover(); p != nil {
			c.Log.Error("server: a connection failed", "network", s.Network, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		var _ = nc.Close() // the front may have closed it already
	}()
	s.front.ServeStream(ctx, nc)
}
