package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
)

// The default bounds of connections.
const (
	maxConnections           = 10_000
	maxConnectionsPerAddress = 256
)

// ErrCrowded says that there are too many connections already, from one
// address or in all, or that the server is stopping.
var ErrCrowded = quinta.E(quinta.KindLimited, "connection", "there are too many connections: try again later")

// connections holds the connections that http.Server does not end by itself:
// raw ones, and those that a front took over from HTTP, such as websockets.
type connections struct {
	core *Core

	mu     sync.Mutex
	closed bool // nothing more is let in
	tally
	open map[io.Closer]struct{}
	// busy counts what a stop waits for: places, and the calls that serve a
	// connection, which may outlast it.
	busy sync.WaitGroup
}

// A place is the right to one connection. leave gives it back, once.
type place struct{ leave func() }

// enter takes a place for a connection from addr, an address and a port.
func (c *connections) enter(network quinta.NetworkName, addr string) (*place, error) {
	from := client(addr)
	// A proxy holds the connections of many clients.
	many := c.core.trusts(from)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.tally.enter(from, many, c.core.MaxConnections, c.core.MaxConnectionsPerAddress) {
		c.core.Metrics.refused(network)
		return nil, ErrCrowded
	}
	c.busy.Add(1)
	c.core.Metrics.connections(network, 1)
	return &place{leave: sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leave(from, many)
		c.core.Metrics.connections(network, -1)
		c.busy.Done()
	})}, nil
}

// client returns what counts as one client of an address with a port: the
// address, or the network of 64 bits of an IPv6 address, all of which one
// client may have.
func client(addr string) netip.Addr {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// hold makes the connection of a place. The place is left when the connection
// is closed.
func (c *connections) hold(p *place, nc net.Conn) *connection {
	held := &connection{Conn: nc, all: c, place: p, patience: c.core.WriteTimeout}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[io.Closer]struct{}{}
	}
	c.open[held] = struct{}{}
	return held
}

// close lets nothing more in.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// cut closes all connections.
func (c *connections) cut() (n int) {
	c.mu.Lock()
	var all []io.Closer
	for held := range c.open {
		all = append(all, held)
	}
	c.mu.Unlock()
	for _, held := range all {
		var _ = held.Close() // it is cut off: how that went tells nothing
	}
	return len(all)
}

// A connection closes with the server, and bounds how long its peer may take
// to accept a piece of what is written.
type connection struct {
	net.Conn
	all      *connections
	place    *place
	patience time.Duration

	mu sync.Mutex
	// own is the deadline that the front has set, or zero.
	own time.Time
}

// Write writes p in pieces. Each has a time to be accepted, or until the
// deadline that the front has set.
func (c *connection) Write(p []byte) (total int, err error) {
	for {
		n := min(len(p), piece)
		c.mu.Lock()
		if c.own.IsZero() {
			err = c.Conn.SetWriteDeadline(time.Now().Add(c.patience))
		}
		c.mu.Unlock()
		if err != nil {
			return total, err
		}
		n, err = c.Conn.Write(p[:n])
		total += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return total, err
		}
	}
}

// SetWriteDeadline sets a deadline for all writes; the zero time returns to
// that of each piece.
func (c *connection) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets the deadlines of reads and of writes.
func (c *connection) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close closes the connection and leaves its place.
func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	err := c.Conn.Close()
	c.place.leave()
	return err
}
