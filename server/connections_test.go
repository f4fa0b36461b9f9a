package server

import (
	"errors"
	"testing"
)

// TestPlaces: a network of 64 bits counts as one client, and nothing is let in
// while the server stops.
func TestPlaces(t *testing.T) {
	t.Parallel()
	c := &Core{Config: Config{MaxConnections: 10, MaxConnectionsPerAddress: 1}}
	c.conns.core = c
	first, err := c.conns.enter("n", "[2001:db8:0:1::1]:1")
	if err != nil {
		t.Fatal(err)
	}
	for addr, ok := range map[string]bool{
		"[2001:db8:0:1:2:3:4:5]:9": false, "[2001:db8:0:2::1]:1": true,
		"192.0.2.1:1": true, "[::ffff:192.0.2.2]:1": true,
	} {
		if _, err := c.conns.enter("n", addr); (err == nil) != ok {
			t.Errorf("%s: got %v, want let in %v", addr, err, ok)
		}
	}
	if _, err := c.conns.enter("n", "192.0.2.2:7"); !errors.Is(err, ErrCrowded) {
		t.Errorf("the address in its other form: got %v", err)
	}
	first.leave()
	first.leave() // once is enough
	if _, err := c.conns.enter("n", "[2001:db8:0:1::9]:1"); err != nil {
		t.Errorf("in the place that was left: %v", err)
	}
	c.conns.close()
	if _, err := c.conns.enter("n", "198.51.100.1:1"); !errors.Is(err, ErrCrowded) {
		t.Errorf("while the server stops: got %v", err)
	}
}
