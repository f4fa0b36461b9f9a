package server_test

import (
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// TestClientURL: the public address counts, and else that of the listener if it
// is on loopback.
func TestClientURL(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t)
	if got := s.Core.ClientURL(); got != s.URL {
		t.Errorf("got %q, want %q", got, s.URL)
	}
	s = quintatest.Start(t, quintatest.Configure(func(c *server.Config) { c.PublicURL = "https://example.org/" }))
	if got := s.Core.ClientURL(); got != "https://example.org" {
		t.Errorf("got %q, want the public address", got)
	}
}
