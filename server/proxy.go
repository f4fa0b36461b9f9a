package server

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// behind sets a request's address to the client's where a trusted proxy
// passed it on. X-Forwarded-For is read from its end, which the nearest proxy
// wrote, up to the first address that is not a trusted proxy's: anyone could
// have written what comes before it.
func (c *Core) behind(h http.Handler) http.Handler {
	if len(c.Proxies) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := c.forwarded(r); ok {
			r = r.WithContext(r.Context())
			r.RemoteAddr = net.JoinHostPort(a.String(), "0")
		}
		h.ServeHTTP(w, r)
	})
}

// forwarded returns the client's address, if a trusted proxy tells it.
func (c *Core) forwarded(r *http.Request) (client netip.Addr, ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !c.trusts(peer.Addr()) {
		return client, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return client, ok
		}
		if client, ok = a.Unmap(), true; !c.trusts(a) {
			return client, true
		}
	}
	return client, ok
}

func (c *Core) trusts(a netip.Addr) bool {
	for _, p := range c.Proxies {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
