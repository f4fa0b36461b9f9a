package server

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,198}[A-Za-z0-9])?(:[0-9]{1,5})?$`)

// CheckName checks a server name: a host name or an IP address, with an
// optional port. Users of every network are named after it, so it has the form
// that all of them can use (Matrix specification, appendices, "Server Name").
func CheckName(s string) error {
	if nameForm.MatchString(s) && !strings.Contains(s, "..") {
		return nil
	}
	if strings.HasPrefix(s, "[") {
		if _, err := netip.ParseAddrPort(s); err == nil {
			return nil
		}
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && a.Is6() && strings.HasSuffix(s, "]") {
			return nil
		}
	}
	return fmt.Errorf("%.80q is not a server name: give a host name such as chat.example.org", s)
}
