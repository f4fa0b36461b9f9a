//go:build peers

package xmpp_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/testkit/peer/xmpphost"
)

// A cable is a connection to the server that can be cut.
type cable struct {
	net.Listener
	to string

	mu    sync.Mutex
	off   bool
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l, to: to}
	go c.serve()
	t.Cleanup(func() {
		l.Close()
		c.cut()
	})
	return c
}

func (c *cable) serve() {
	for {
		a, err := c.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", c.to)
		if err != nil {
			a.Close()
			continue
		}
		c.mu.Lock()
		off := c.off
		c.conns = append(c.conns, a, b)
		c.mu.Unlock()
		if off {
			a.Close()
			b.Close()
			continue
		}
		go func() { _, _ = io.Copy(a, b); a.Close() }()
		go func() { _, _ = io.Copy(b, a); b.Close() }()
	}
}

// cut ends every connection, and lets no new one through until mend.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = false
}

// TestDropped: a server that keeps no messages holds them for a connection that
// was lost, and the next connection resumes it: nothing is lost, nothing comes
// twice, and the order stays.
func TestDropped(t *testing.T) {
	t.Parallel()
	eachWith(t, func(x *xmpphost.Server) { x.Forgets = true }, func(t *testing.T, s *stage) {
		line := newCable(t, s.xmpp.Client)
		romeo, juliet := s.login("romeo"), s.loginAt("juliet", "xmpp://"+line.Addr().String())
		// The server gives a message back if the recipient is not there yet.
		d, ok := client.As[client.Doctor](juliet.Session)
		if !ok {
			t.Fatal("the session has no doctor")
		}
		if _, err := d.Examine(t.Context()); err != nil {
			t.Fatal(err)
		}
		romeo.says(juliet, "first")
		juliet.reads(romeo, "first")
		line.cut()
		for i := range 3 {
			romeo.says(juliet, fmt.Sprint("cut off ", i))
		}
		juliet.post(romeo, "waits")
		line.mend()
		for i := range 3 {
			juliet.reads(romeo, fmt.Sprint("cut off ", i))
		}
		romeo.reads(juliet, "waits")
		romeo.says(juliet, "after")
		juliet.reads(romeo, "after")
		if got := juliet.timeline(romeo); got != "first | waits | cut off 0 | cut off 1 | cut off 2 | after" && got != "first | cut off 0 | cut off 1 | cut off 2 | waits | after" {
			t.Errorf("got %q", got)
		}
	})
}
