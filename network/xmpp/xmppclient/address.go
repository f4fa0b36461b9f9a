package xmppclient

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

// The ports of client connections: that of RFC 6120, section 14.7, and the usual
// one of those that begin with TLS (XEP-0368).
const (
	clientPort = "5222"
	directPort = "5223"
)

// The schemes of addresses. In the second one the connection begins with TLS.
const (
	schemePlain  = "xmpp"
	schemeDirect = "xmpps"
)

// direct reports whether the connection to a server begins with TLS.
func direct(server string) bool { return strings.HasPrefix(server, schemeDirect+"://") }

// checkServer reports whether a server's address can be used: a domain, or
// xmpp://HOST:PORT or xmpps://HOST:PORT.
func checkServer(server string) error {
	const op = "reading the server's address"
	if !strings.Contains(server, "://") {
		if server == "" || strings.ContainsAny(server, "/@ ") {
			return quinta.E(quinta.KindInvalid, op, "the server is a domain such as example.org, xmpp://HOST:PORT or xmpps://HOST:PORT")
		}
		return nil
	}
	u, err := url.Parse(server)
	if err != nil || u.Scheme != schemePlain && u.Scheme != schemeDirect || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return quinta.E(quinta.KindInvalid, op, "the server is a domain such as example.org, xmpp://HOST:PORT or xmpps://HOST:PORT")
	}
	return nil
}

// reach connects to the server. A domain is looked up as RFC 6120, section 3.2
// says; an address is taken as it is. It reports whether the other side is this
// machine, where no one listens on the way.
func reach(ctx context.Context, server string) (c net.Conn, local bool, err error) {
	var hosts []string
	if u, err := url.Parse(server); err == nil && (u.Scheme == schemePlain || u.Scheme == schemeDirect) {
		port := u.Port()
		if port == "" {
			port = clientPort
			if direct(server) {
				port = directPort
			}
		}
		hosts = []string{net.JoinHostPort(u.Hostname(), port)}
	} else {
		_, records, err := net.DefaultResolver.LookupSRV(ctx, "xmpp-client", "tcp", server)
		if err == nil {
			for _, r := range records {
				if r.Target != "." {
					hosts = append(hosts, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
				}
			}
		}
		if len(hosts) == 0 {
			hosts = []string{net.JoinHostPort(server, clientPort)}
		}
	}
	for _, host := range hosts {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err == nil {
			name, _, _ := net.SplitHostPort(host)
			return c, dial.Loopback(name), nil
		}
	}
	return nil, false, err
}
