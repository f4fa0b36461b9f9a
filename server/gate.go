package server

import (
	"net"
	"net/netip"
	"sync"

	"github.com/quinta-chat/quinta"
)

// The default bounds of connections that speak HTTP. All clients of an office
// may have one address, and a browser holds several connections.
const (
	maxWebConnections           = 10_000
	maxWebConnectionsPerAddress = 1_000
)

// web stands for HTTP in the metrics of connections.
const web quinta.NetworkName = "http"

// A gate is the listener of HTTP. It closes connections beyond the bounds as
// soon as they are accepted, before anything is read: in all, and, where the
// limits per address are on, from one address or from one network of 64 bits of
// IPv6. Proxies that are trusted have the first bound only.
type gate struct {
	net.Listener
	core *Core

	mu sync.Mutex
	tally
}

// Accept returns the next connection within the bounds.
func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := client(nc.RemoteAddr().String())
		many := !g.core.RateLimits || g.core.trusts(from)
		g.mu.Lock()
		in := g.enter(from, many, g.core.MaxWebConnections, g.core.MaxWebConnectionsPerAddress)
		g.mu.Unlock()
		if !in {
			g.core.Metrics.refused(web)
			var _ = nc.Close() // the peer sees the end, whatever comes of it
			continue
		}
		g.core.Metrics.connections(web, 1)
		leave := sync.OnceFunc(func() {
			g.core.Metrics.connections(web, -1)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.tally.leave(from, many)
		})
		if t, ok := nc.(*net.TCPConn); ok {
			// A file goes to a *net.TCPConn without a copy in memory.
			return &gatedTCP{t, leave}, nil
		}
		return &gated{nc, leave}, nil
	}
}

// A gated gives its place back when it is closed.
type gated struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *gated) Close() error { defer c.leave(); return c.Conn.Close() }

// A gatedTCP is a gated of TCP.
type gatedTCP struct {
	*net.TCPConn
	leave func()
}

// Close closes the connection.
func (c *gatedTCP) Close() error { defer c.leave(); return c.TCPConn.Close() }

// A tally counts connections in all and, except those of clients that are many,
// by client. Its owner has the lock.
type tally struct {
	inAll int
	from  map[netip.Addr]int
}

// enter counts a connection and reports whether it is within the bounds.
func (t *tally) enter(from netip.Addr, many bool, all, each int) bool {
	if t.inAll >= all || !many && t.from[from] >= each {
		return false
	}
	t.inAll++
	if !many {
		if t.from == nil {
			t.from = map[netip.Addr]int{}
		}
		t.from[from]++
	}
	return true
}

// leave takes a connection out of the count.
func (t *tally) leave(from netip.Addr, many bool) {
	t.inAll--
	if many {
		return
	}
	if t.from[from]--; t.from[from] == 0 {
		delete(t.from, from)
	}
}
