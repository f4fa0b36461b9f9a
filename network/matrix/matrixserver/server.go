// Package matrixserver is the server half of the Matrix network: a homeserver
// for stock clients, without federation.
//
// [Network] is its entry in the list of networks. Each file holds one group
// of calls of the client-server API and registers its endpoints in a method
// named after it; both the r0 and the v3 paths are served.
//
// For each call, the homeserver combines the function sets of the core in one
// transaction, and answers after the commit. It stores what clients upload
// without change, and verifies signatures only where the specification asks a
// server to; it never holds a private key in clear and never opens an
// envelope.
package matrixserver

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/push"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// network is the name of the network.
const network = wire.Network

// Network is the Matrix server half.
var Network = server.Network{
	Name:    network,
	Schemas: []db.Schema{schema},
	Settings: []server.Setting{
		server.Switch(privateGateways, "off", "allow push gateways with private addresses or without TLS, for a gateway in your own network"),
	},
	Join: func(address string) string {
		return "in a Matrix client such as Element, choose another homeserver, enter " + address + " and log in"
	},
	New: func(c *server.Core) (server.Front, error) { return newServer(c) },

	CheckAccount: checkAccount,
}

// privateGateways is the setting that lets users name any push gateway.
const privateGateways = "private-gateways"

var (
	_ server.Web           = (*homeserver)(nil)
	_ server.Bounded       = (*homeserver)(nil)
	_ server.Runner        = (*homeserver)(nil)
	_ server.Periodic      = (*homeserver)(nil)
	_ server.AccountKeeper = (*homeserver)(nil)
)

// homeserver answers the client-server API.
type homeserver struct {
	*server.Core
	router router
	typing *typingClock
	// notices applies the push rules of users.
	notices *push.Judge
	// thumbnails holds a token for each thumbnail that is being made.
	thumbnails chan struct{}
	post       *push.Postman
	// claims counts the one-time keys that each user takes of each device.
	claims *server.Limits
	// crowdSeen is when the mailboxes were looked through, in Unix
	// milliseconds.
	crowdSeen atomic.Int64
}

func newServer(c *server.Core) (*homeserver, error) {
	s := &homeserver{Core: c, claims: c.NewLimits(), notices: push.NewJudge(), thumbnails: make(chan struct{}, thumbnailsAtOnce)}
	s.typing = newTypingClock(s)
	for _, register := range []func(){
		s.versionCalls,
		s.loginCalls,
		s.registerCalls,
		s.accountCalls,
		s.deviceCalls,
		s.keyCalls,
		s.crossSigningCalls,
		s.toDeviceCalls,
		s.backupCalls,
		s.dehydratedCalls,
		s.profileCalls,
		s.capabilityCalls,
		s.pushRuleCalls,
		s.pusherCalls,
		s.userDirectoryCalls,
		s.accountDataCalls,
		s.tagCalls,
		s.filterCalls,
		s.mediaCalls,
		s.syncCalls,
		s.presenceCalls,
		s.roomCalls,
	} {
		register()
	}
	s.post = push.NewPostman(c, s.notices, s.private())
	return s, nil
}

// Paths are the prefixes of the client-server API.
func (s *homeserver) Paths() []string { return []string{"/_matrix/", "/.well-known/matrix/"} }

// Bounds are those of the endpoints.
func (s *homeserver) Bounds() []server.Bound { return s.router.bounds }

// Run delivers notifications to push gateways until ctx ends, on one node.
func (s *homeserver) Run(ctx context.Context) error {
	return s.OnOneNode(ctx, "matrix push", s.post.Run)
}

// Close ends the timers.
func (s *homeserver) Close() error {
	s.typing.close()
	return nil
}

// client registers an endpoint of the client API under the r0 and v3 paths.
func (s *homeserver) client(method, path string, e endpoint) {
	s.router.add(method, "/_matrix/client/v3"+path, path, &e)
	s.router.add(method, "/_matrix/client/r0"+path, path, &e)
}

// at registers an endpoint under a whole path, for calls of one version.
func (s *homeserver) at(method, path string, e endpoint) { s.router.add(method, path, path, &e) }

// ServeHTTP answers one call.
func (s *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cors(w.Header())
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c := &call{homeserver: s, w: w, r: r}
	c.answer(c.run())
}

// cors lets programs in browsers call the API ("Web Browser Clients").
func cors(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization")
	h.Set("Access-Control-Max-Age", "86400")
}
