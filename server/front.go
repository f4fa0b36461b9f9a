package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A Network is one network's server half before it is opened: one line in the
// list of networks.
type Network struct {
	Name quinta.NetworkName
	// Schemas are the tables that only this network has.
	Schemas []db.Schema
	// Settings are the operator's settings of this network alone.
	Settings []Setting
	// Commands are the operator's commands for this network alone.
	Commands []Command
	// Join says in one line, without a full stop, how a user of this server
	// joins the network; address is that of the server. It may be nil.
	Join func(address string) string
	// New makes the front over an open core. It starts nothing: no listener,
	// no connection, no goroutine. It is also called for offline commands, and
	// for a network that is switched off, whose settings may be incomplete.
	New func(*Core) (Front, error)
	// CheckAccount, if not nil, says why an account of this name cannot use
	// the network; nil if it can.
	CheckAccount func(c *Core, name account.Name) error
}

// A Front is the opened server half of a network. The ways in which it serves
// are optional interfaces: [Web], [StreamFront], [Runner], [Periodic],
// [AccountKeeper], [CertificateAsker].
type Front interface {
	// Close frees what the front holds. It is called after the last request,
	// connection and Run, and before the store closes.
	Close() error
}

// A Web is a Front that answers HTTP.
type Web interface {
	Front
	http.Handler
	// Paths are the paths that the front answers: with a slash at the end the
	// tree below it, without one that path alone. The longest path that
	// matches a request wins. [Open] refuses a path that two fronts claim.
	Paths() []string
}

// A StreamFront is a Front that takes raw TCP connections.
type StreamFront interface {
	Front
	// Streams are the addresses to listen on, each "host:port"; port 0 takes a
	// free one. None means that the front takes no connections.
	Streams() []string
	// ServeStream serves one connection, whose LocalAddr says at which address
	// it arrived. The core bounds connections per address and in total, closes
	// the connection when ServeStream returns, survives its panic, and gives the
	// peer Config.WriteTimeout to accept each write. How long the peer may be
	// silent is for the front to decide.
	//
	// When Draining closes, ServeStream finishes the exchange under way and
	// returns. ctx ends, and the connection is closed, shortly before
	// Config.StopTimeout has passed.
	ServeStream(ctx context.Context, c net.Conn)
}

// A Runner is a Front that also acts on its own initiative, such as delivering
// what is queued or holding a connection to another server.
type Runner interface {
	Front
	// Run acts until ctx ends, and then returns promptly. [Core.Serve] begins
	// it when all listeners are open and ends it before Close; an offline
	// command never does. An error is logged and does not stop the server.
	Run(ctx context.Context) error
}

// A CertificateAsker is a Web front that can use client certificates.
type CertificateAsker interface {
	Web
	// AsksCertificates reports whether clients are to be asked for a
	// certificate in the TLS handshake. The core does not verify it.
	AsksCertificates() bool
}

// A seat is an opened network.
type seat struct {
	name  quinta.NetworkName
	front Front
	// check is Network.CheckAccount.
	check func(c *Core, name account.Name) error
	// join is Network.Join.
	join func(address string) string
}

// Join says for each network that runs, and has something to say, how a user
// joins it. address is that of the server.
func (c *Core) Join(address string) (how []string) {
	for _, s := range c.running {
		if s.join != nil {
			how = append(how, s.join(address))
		}
	}
	return how
}

// A route is a path with the front that answers it.
type route struct {
	path string
	seat seat
	web  Web
}

// routes collects the paths of the fronts that run, the longest first.
func routes(seats []seat) ([]route, error) {
	var all []route
	owner := map[string]quinta.NetworkName{}
	for _, s := range seats {
		web, ok := s.front.(Web)
		if !ok {
			continue
		}
		for _, p := range web.Paths() {
			if len(p) < 2 || p[0] != '/' || strings.Contains(p, "//") {
				return nil, fmt.Errorf("server: %s claims %q, which is not a path of a front", s.name, p)
			}
			if o, taken := owner[p]; taken {
				return nil, fmt.Errorf("server: %s and %s both claim the path %s", o, s.name, p)
			}
			owner[p] = s.name
			all = append(all, route{p, s, web})
		}
	}
	slices.SortStableFunc(all, func(a, b route) int { return len(b.path) - len(a.path) })
	return all, nil
}

// matches reports whether the route answers a path.
func (r *route) matches(path string) bool {
	if strings.HasSuffix(r.path, "/") {
		return strings.HasPrefix(path, r.path)
	}
	return path == r.path
}

// running returns the seats of the networks that cfg lets run, all by default.
func running(seats []seat, on []quinta.NetworkName) ([]seat, error) {
	if len(on) == 0 {
		return seats, nil
	}
	var out []seat
	for _, name := range on {
		i := slices.IndexFunc(seats, func(s seat) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no network %.40q", name)
		}
		if !slices.ContainsFunc(out, func(s seat) bool { return s.name == name }) {
			out = append(out, seats[i])
		}
	}
	return out, nil
}
