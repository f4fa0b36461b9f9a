// Package caserver is the server half of the CA network: a certificate
// authority for the devices of its users, and a mail drop for their sealed
// messages.
//
// [Network] is its entry in the list of networks. Each file holds one group
// of calls. The authority itself (its keys, what it issues and revokes) is in
// authority.go, key.go and crl.go; the mail drop is in conversation.go,
// deliver.go and mailbox.go.
//
// The server sees who writes to whom, when, how much, and for which keys. It
// never sees a private key of a user nor the text of a message, and it opens
// no envelope.
package caserver

import (
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// network is the name of the network.
const network quinta.NetworkName = "ca"

// Network is the CA server half.
var Network = server.Network{
	Name:    network,
	Schemas: []db.Schema{schema},
	Settings: []server.Setting{
		server.Switch(clientCertificates, "off", "ask clients for a certificate in the TLS handshake, which EST renewal requires; browsers may then prompt their users for one"),
	},
	Join: func(address string) string {
		return "on the CA network: quinta login ca " + address + " NAME"
	},
	New:      func(c *server.Core) (server.Front, error) { return newServer(c), nil },
	Commands: commands,

	CheckAccount: func(c *server.Core, name account.Name) error {
		if !certifiable(name, domainOf(c.Name)) {
			return errName
		}
		return nil
	},
}

// errName says which names the network can use.
var errName = quinta.E(quinta.KindInvalid, "account", "a user name of this network has the characters a-z, 0-9 and ._-+, and begins and ends with a letter or a digit")

// certifiable reports whether an account's name can be the name of a
// certificate.
func certifiable(name account.Name, domain string) bool {
	id := cert.Identity{User: userIn(domain, name), Device: "x", Use: cert.UseSign}
	return id.Check() == nil
}

func userIn(domain string, name account.Name) quinta.UserID {
	return quinta.UserID(string(name) + "@" + domain)
}

// clientCertificates is the setting that lets EST clients authenticate with
// the certificate that they renew.
const clientCertificates = "client-certificates"

var (
	_ server.CertificateAsker = (*caServer)(nil)
	_ server.AccountKeeper    = (*caServer)(nil)
	_ server.Bounded          = (*caServer)(nil)
	_ server.Periodic         = (*caServer)(nil)
)

// A caServer answers the calls of the network.
type caServer struct {
	*server.Core
	mux *http.ServeMux
	// paths are the paths that are registered.
	paths map[string]bool
	// bounds are those of all calls.
	bounds []server.Bound
	// domain is the part of user names after the @.
	domain    string
	authority authority
}

func newServer(c *server.Core) *caServer {
	s := &caServer{Core: c, mux: http.NewServeMux(), paths: map[string]bool{}, domain: domainOf(c.Name)}
	s.authority.s = s
	for _, register := range []func(){
		s.loginCalls,
		s.registerCalls,
		s.deviceCalls,
		s.rootCalls,
		s.crlCalls,
		s.keyCalls,
		s.renewCalls,
		s.revokeCalls,
		s.approvalCalls,
		s.estCalls,
		s.conversationCalls,
		s.deliverCalls,
		s.mailboxCalls,
		s.fileCalls,
		s.backupCalls,
	} {
		register()
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c := &call{caServer: s, w: w, r: r}
		c.fail(notFound("there is no such call"))
	})
	return s
}

// Paths are the prefixes of the network's own calls and of EST.
func (s *caServer) Paths() []string { return []string{"/ca/", wire.ESTBase + "/"} }

// Bounds are the limits of the calls.
func (s *caServer) Bounds() []server.Bound { return s.bounds }

// AsksCertificates reports whether the operator wants clients to be asked for
// a certificate.
func (s *caServer) AsksCertificates() bool { return s.Setting(clientCertificates) == "on" }

// Close has nothing to end.
func (s *caServer) Close() error { return nil }

// ServeHTTP answers one call.
func (s *caServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// domainOf makes the domain of user names from the name of the server: in
// lower case, without the port; what a mail domain cannot hold becomes "-".
func domainOf(name string) string {
	name = strings.ToLower(name)
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") && strings.Count(name, ":") == 1 {
		name = name[:i]
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(name, "-.")
}

// userOf returns the name of an account on this network.
func (s *caServer) userOf(name account.Name) quinta.UserID {
	return userIn(s.domain, name)
}

// accountOf returns the account of a user of this server, or "".
func (s *caServer) accountOf(id quinta.UserID) account.Name {
	local, ok := strings.CutSuffix(string(id), "@"+s.domain)
	if !ok || strings.ContainsRune(local, '@') {
		return ""
	}
	return account.Name(local)
}

// AccountOf returns the account of a user of this server, or "".
func (s *caServer) AccountOf(_ *db.Tx, user quinta.UserID) (account.Name, error) {
	return s.accountOf(user), nil
}

// AccountLogOut ends all logins of an account; devices and keys stay.
func (s *caServer) AccountLogOut(tx *db.Tx, name account.Name) error {
	return s.logOut(tx, s.userOf(name))
}

// AccountClosing revokes the keys of an account, removes its devices and its
// data, and removes it from its conversations.
func (s *caServer) AccountClosing(tx *db.Tx, name account.Name) error {
	return s.forget(tx, s.userOf(name))
}
