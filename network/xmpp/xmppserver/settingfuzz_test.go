package xmppserver

import (
	"net"
	"strings"
	"testing"
)

// FuzzComponent reads any text as the setting of the component: what is taken
// is a name and an address that can be connected to.
func FuzzComponent(f *testing.F) {
	f.Add("keys.example.org@127.0.0.1:5347")
	f.Add("@:")
	f.Add("keys@[::1]:99999")
	f.Fuzz(func(t *testing.T, v string) {
		c, err := parseComponent(v)
		if err != nil || v == "" {
			return
		}
		host, port, err := net.SplitHostPort(c.addr)
		if err != nil || host == "" || port == "" || c.name == "" || strings.ContainsAny(c.name, "@/ \x00") || c.name != strings.ToLower(c.name) {
			t.Errorf("%q: got %+v, %v", v, c, err)
		}
	})
}
