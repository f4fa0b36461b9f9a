// Package xmppserver is the server half of the XMPP network: a key server
// beside any XMPP server, whose component it is.
//
// [Network] is its entry in the list of networks. Clients get a token by IQ
// through the XMPP server, which vouches for their names (component.go,
// token.go), and make and fetch key objects over HTTP (keys.go, copies.go,
// devices.go).
//
// In sealed mode, the server keeps copies of keys that only devices can open.
// In escrow mode, which the operator must allow, it keeps the keys
// themselves, sealed under the server's own secret: the operator can read
// such conversations. It never sees a message.
package xmppserver

import (
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// network is the name of the network.
const network quinta.NetworkName = "xmpp"

// Network is the XMPP server half.
var Network = server.Network{
	Name:     network,
	Schemas:  []db.Schema{schema},
	Settings: settings,
	Commands: commands,
	New:      func(c *server.Core) (server.Front, error) { return newServer(c) },
}

var (
	_ server.Web      = (*xmppServer)(nil)
	_ server.Runner   = (*xmppServer)(nil)
	_ server.Periodic = (*xmppServer)(nil)
	_ server.Bounded  = (*xmppServer)(nil)
)

// An xmppServer answers the calls and holds the component's connection.
type xmppServer struct {
	*server.Core
	mux *http.ServeMux
	// bounds are those of the calls over HTTP.
	bounds []server.Bound
	// component is where the component connects to, or the zero value.
	component componentAddr
	// domains are the domains whose users are served.
	domains []string
	// hints are told to users over the component; see hint.go.
	hints  chan hint
	tokens tokenKeys
	rooms  *rooms
}

func newServer(c *server.Core) (*xmppServer, error) {
	s := &xmppServer{Core: c, mux: http.NewServeMux(), hints: make(chan hint, maxHints), rooms: newRooms(c.Rand)}
	var err error
	if s.component, err = parseComponent(c.Setting(settingComponent)); err != nil {
		return nil, err
	}
	s.domains = domainsOf(c.Setting(settingDomains), s.component)
	for _, register := range []func(){s.keyCalls, s.copyCalls, s.deviceCalls, s.fileCalls} {
		register()
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c := &call{xmppServer: s, w: w, r: r}
		c.fail(errNotFound)
	})
	return s, nil
}

// Paths are those of the calls.
func (s *xmppServer) Paths() []string { return []string{wire.Base + "/"} }

// Bounds are the limits of the calls, and of the request for a token by IQ.
func (s *xmppServer) Bounds() []server.Bound {
	return append([]server.Bound{{Call: "IQ " + wire.NSKeys + " token", Rate: rateWrite, Body: wire.MaxStanza}}, s.bounds...)
}

// ServeHTTP answers one call.
func (s *xmppServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close has nothing to end.
func (s *xmppServer) Close() error { return nil }

// serves reports whether the server serves users of a domain.
func (s *xmppServer) serves(domain string) bool { return slices.Contains(s.domains, domain) }

// domainsOf returns the domains of the setting, or the parent of the
// component's name.
func domainsOf(setting string, c componentAddr) []string {
	var out []string
	for d := range strings.FieldsFuncSeq(setting, func(r rune) bool { return r == ',' || r == ' ' }) {
		out = append(out, strings.ToLower(d))
	}
	if len(out) == 0 && c.name != "" {
		if _, parent, ok := strings.Cut(c.name, "."); ok {
			out = append(out, parent)
		}
	}
	return out
}
