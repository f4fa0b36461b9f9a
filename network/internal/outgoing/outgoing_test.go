package outgoing_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/internal/outgoing"
)

// refused has an address of each block that is not public, first and last ones,
// and the forms of IPv6 in which an IPv4 address hides.
var refused = []string{
	"0.0.0.0", "0.1.2.3", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.254",
	"169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255",
	"198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::93.184.216.34", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1",
	"64:ff9b:1::5db8:d822", "100::1", "100:0:0:1::1", "2001::1", "2001:0:7f00:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2001:db8::1",
	"2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a00:1::1", "3fff::1", "3fff:fff::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1", "fec0::1", "feff::1", "ff02::1",
	"2606:2800:220:1:0:5efe:7f00:1", "2606:2800:220:1:200:5efe:a00:1", "4000::1", "1fff::1",
}

// admitted are public, at the edges of what is not.
var admitted = []string{
	"1.0.0.0", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0",
	"192.0.1.1", "192.0.3.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1",
	"2001:200::1", "2001:db7::1", "2001:db9::1", "2606:2800:220:1::1", "2606:2800:220:1:0:5efe:5db8:d822", "2a00::1", "3ffe::1",
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, s := range refused {
		if outgoing.Public(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as public", s)
		}
	}
	for _, s := range admitted {
		if !outgoing.Public(netip.MustParseAddr(s)) {
			t.Errorf("%s does not count as public", s)
		}
		if err := outgoing.Control("tcp", net.JoinHostPort(s, "443"), nil); err != nil {
			t.Errorf("%s: got %v", s, err)
		}
	}
	if outgoing.Public(netip.Addr{}) || outgoing.Public(netip.MustParseAddr("2606:2800:220:1::1%eth0")) {
		t.Error("no address, or one with a zone, counts as public")
	}
	if err := outgoing.Control("tcp", "nonsense", nil); !errors.Is(err, outgoing.ErrNotPublic) {
		t.Errorf("got %v, want ErrNotPublic", err)
	}
}

// TestAttackDial: a dialer connects to no address that is not public, also
// where someone listens and where a name leads there. It is refused at once,
// before the system is asked for a route.
func TestAttackDial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d := &net.Dialer{Timeout: 5 * time.Second, Control: outgoing.Control}
	for _, host := range append([]string{"localhost"}, refused...) {
		c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", host)
			continue
		}
		if !errors.Is(err, outgoing.ErrNotPublic) {
			t.Errorf("%s: got %v, want ErrNotPublic", host, err)
		}
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Errorf("without the check: got %v", err)
	} else {
		c.Close()
	}
}
