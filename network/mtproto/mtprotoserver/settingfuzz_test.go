package mtprotoserver

import (
	"net/netip"
	"testing"
)

// FuzzAnnounce reads any text as the addresses that clients are told: what is
// taken are addresses with a port, one for each number of a DC.
func FuzzAnnounce(f *testing.F) {
	f.Add("192.0.2.1:443")
	f.Add("1=192.0.2.1:443,2=[2001:db8::1]:443")
	f.Add("9=x")
	f.Fuzz(func(t *testing.T, v string) {
		all, err := parseAnnounce(v)
		if err != nil {
			return
		}
		for dc, addr := range all {
			if a, err := netip.ParseAddrPort(addr); dc < 0 || dc > maxDC || err != nil || a.Port() == 0 {
				t.Errorf("%q: got %q for %d, %v", v, addr, dc, err)
			}
		}
	})
}
