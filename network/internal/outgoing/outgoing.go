// Package outgoing decides which addresses the server halves may connect to when
// a user has supplied the address: public ones only. Give [Control] to the dialer
// that connects: it sees the address itself, after names have been resolved, so a
// name cannot lead to another address.
package outgoing

import (
	"errors"
	"net/netip"
	"syscall"
)

// ErrNotPublic: the address is for a special purpose, such as private use.
var ErrNotPublic = errors.New("outgoing: the address is not public")

// special are the blocks of IANA's special-purpose registries for IPv4 and
// IPv6 (RFC 6890) of which not every address is globally reachable, and multicast.
// What is reachable only by way of an IPv4 address in it is in embedded.
var special = prefixes(
	"0.0.0.0/8",       // this network, RFC 791
	"10.0.0.0/8",      // private use, RFC 1918
	"100.64.0.0/10",   // shared space of carriers, RFC 6598
	"127.0.0.0/8",     // loopback, RFC 1122
	"169.254.0.0/16",  // link local, RFC 3927
	"172.16.0.0/12",   // private use, RFC 1918
	"192.0.0.0/24",    // IETF protocol assignments, RFC 6890
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.88.99.0/24",  // relays of 6to4, RFC 7526
	"192.168.0.0/16",  // private use, RFC 1918
	"198.18.0.0/15",   // benchmarks, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"224.0.0.0/4",     // multicast, RFC 5771
	"240.0.0.0/4",     // reserved, and broadcast, RFC 1112, RFC 8190
	"2001::/23",       // IETF protocol assignments, Teredo and ORCHID, RFC 2928
	"2001:db8::/32",   // documentation, RFC 3849
	"3fff::/20",       // documentation, RFC 9637
)

// global is what IANA assigns of IPv6 (RFC 4291): outside of it there is
// nothing but special purposes.
var global = netip.MustParsePrefix("2000::/3")

// embedded are the blocks of IPv6 whose addresses hold an IPv4 address, by the
// byte where it begins.
var embedded = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"): 12, // NAT64, RFC 6052
	netip.MustParsePrefix("2002::/16"):    2,  // 6to4, RFC 3056
}

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, s := range all {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Public reports whether an address is public. An IPv6 address that contains an
// IPv4 address is public if that one is.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	if a.Is4() {
		return true
	}
	raw := a.As16()
	for p, at := range embedded {
		if p.Contains(a) {
			return Public(netip.AddrFrom4([4]byte(raw[at : at+4])))
		}
	}
	// ISATAP (RFC 5214, section 6.1): 0000:5efe or 0200:5efe, then the IPv4 address.
	if raw[8]&^2 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe && !Public(netip.AddrFrom4([4]byte(raw[12:]))) {
		return false
	}
	return global.Contains(a)
}

// Control is for [net.Dialer]: it refuses an address that is not public with
// ErrNotPublic before anything is sent to it.
func Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !Public(ap.Addr()) {
		return ErrNotPublic
	}
	return nil
}
