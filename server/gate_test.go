package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// ask sends one request over a connection that stays open and reports whether
// it was answered.
func ask(c net.Conn) bool {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(c, "GET /nothing HTTP/1.1\r\nHost: hs1\r\n\r\n"); err != nil {
		return false
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return errors.Join(err, r.Body.Close()) == nil
}

// TestAttackManyConnections: one address has a bounded number of connections
// that speak HTTP, and so has the server; a place that was left can be taken
// again.
func TestAttackManyConnections(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]func(c *server.Config){
		"address": func(c *server.Config) { c.MaxWebConnectionsPerAddress = 3 },
		"server":  func(c *server.Config) { c.MaxWebConnections = 3; c.RateLimits = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := quintatest.Start(t, quintatest.RateLimits(), quintatest.Configure(bound))
			http.DefaultClient.CloseIdleConnections() // the one of Start
			dial := func() net.Conn {
				c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
			var held []net.Conn
			for len(held) < 3 {
				if c := dial(); ask(c) {
					held = append(held, c)
				}
			}
			if ask(dial()) {
				t.Error("a fourth connection is served")
			}
			held[0].Close()
			for end := time.Now().Add(20 * time.Second); !ask(dial()); {
				if time.Now().After(end) {
					t.Fatal("the place that was left cannot be taken")
				}
			}
		})
	}
}
