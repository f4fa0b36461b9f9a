// Package mtprotoserver is the server half of the secret chat network: the
// part of MTProto 2.0 and its API that a client needs to log in and to take
// part in secret chats.
//
// [Network] is its entry in the list of networks. conn.go has the connection
// and the session, exchange.go the creation of authorization keys, call.go the
// table of calls; each other file holds one group of calls.
//
// The server sees who talks to whom, when, and the padded sizes of packets.
// It relays what devices encrypt and has none of their keys.
package mtprotoserver

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// The settings of the network.
const (
	settingListen   = "mtproto-listen"
	settingKey      = "mtproto-key"
	settingDC       = "mtproto-dc"
	settingAnnounce = "mtproto-announce"
)

// Network is the server half of the secret chat network.
var Network = server.Network{
	Name:    name,
	Schemas: []db.Schema{schema},
	Settings: []server.Setting{
		{Name: settingListen, Arg: "HOST:PORT,...", Help: "the addresses at which clients of secret chats connect over TCP; by default there are none", Check: checkListen},
		{Name: settingKey, Arg: "FILE,...", Help: "the RSA keys, 2048 bits in PEM, with which the server proves its identity; by default one is created and stored encrypted", Check: checkKeys},
		{Name: settingDC, Default: "2", Arg: "N", Help: "the DC number, 1 to 5, of clients that do not name one", Check: checkDC},
		{Name: settingAnnounce, Arg: "N=HOST:PORT,...", Help: "the address that clients are told for each DC; by default the one they connected to", Check: checkAnnounce},
	},
	Join: func(address string) string {
		return `in secret chats: quinta login mtproto ` + address + ` NUMBER, with the number that "quintad user number NAME" prints`
	},
	New:      func(c *server.Core) (server.Front, error) { return newServer(c) },
	Commands: commands,
}

const name quinta.NetworkName = "mtproto"

var (
	_ server.StreamFront   = (*mtprotoServer)(nil)
	_ server.Web           = (*mtprotoServer)(nil)
	_ server.AccountKeeper = (*mtprotoServer)(nil)
	_ server.Bounded       = (*mtprotoServer)(nil)
	_ server.Periodic      = (*mtprotoServer)(nil)
	_ server.Runner        = (*mtprotoServer)(nil)
)

// A mtprotoServer serves the network.
type mtprotoServer struct {
	*server.Core
	group    *secretchat.Group
	announce map[int]string
	dc       int

	mu   sync.Mutex
	kept *secrets
	// turns has a lock for each authorization key whose call is worked on.
	turns map[int64]*turn
	// typing has the chat in which someone types to a device.
	typing map[int64]int64

	polls polls
	// begun are the key exchanges over HTTP, first the first salts by key, and
	// challenges the questions for passwords by device.
	begun      *brief[nonces, *conn]
	first      *brief[int64, int64]
	challenges *brief[int64, challenge]
	heard      *heard
}

func newServer(c *server.Core) (*mtprotoServer, error) {
	announce, err := parseAnnounce(c.Setting(settingAnnounce))
	if err != nil {
		return nil, err
	}
	dc, err := strconv.Atoi(c.Setting(settingDC))
	if err != nil {
		return nil, err
	}
	return &mtprotoServer{Core: c, group: secretchat.KnownGroup(), announce: announce, dc: dc, turns: map[int64]*turn{}, typing: map[int64]int64{}, heard: newHeard(c.Now()),
		begun: newBrief[nonces, *conn](beginWithin, maxBegun), first: newBrief[int64, int64](saltLife, maxFirst), challenges: newBrief[int64, challenge](challengeFor, maxChallenges)}, nil
}

// Streams are the addresses of the setting.
func (s *mtprotoServer) Streams() []string { return list(s.Setting(settingListen)) }

// ServeStream serves one connection.
func (s *mtprotoServer) ServeStream(ctx context.Context, c net.Conn) { s.serve(ctx, c, wire.Accept) }

// Close ends the sessions over HTTP.
func (s *mtprotoServer) Close() error { s.polls.close(); return nil }

// list splits a setting at its commas.
func list(v string) []string {
	var out []string
	for _, p := range strings.Split(v, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func checkListen(v string) error {
	for _, a := range list(v) {
		if err := checkAddr(a, true); err != nil {
			return err
		}
	}
	return nil
}

// checkAddr checks an address; port 0, for a free one, only if it is to be
// listened on.
func checkAddr(a string, listen bool) error {
	_, port, err := net.SplitHostPort(a)
	n, perr := strconv.ParseUint(port, 10, 16) // without a sign
	if err != nil || perr != nil || n == 0 && !listen {
		return fmt.Errorf("%.60q is not HOST:PORT", a)
	}
	return nil
}

func checkDC(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 1 || n > maxDC {
		return fmt.Errorf("%.20q is not a number from 1 to %d", v, maxDC)
	}
	return nil
}

// maxDC is the largest number of a DC.
const maxDC = 5

func checkAnnounce(v string) error { _, err := parseAnnounce(v); return err }

// parseAnnounce reads the addresses by DC; 0 is that of all DCs without one.
func parseAnnounce(v string) (map[int]string, error) {
	out := map[int]string{}
	for _, p := range list(v) {
		n, addr := 0, p
		if num, a, named := strings.Cut(p, "="); named {
			if err := checkDC(num); err != nil {
				return nil, err
			}
			n, _ = strconv.Atoi(num)
			addr = a
		}
		host, _, err := net.SplitHostPort(addr)
		if err := checkAddr(addr, false); err != nil {
			return nil, err
		}
		if err != nil || net.ParseIP(host) == nil {
			return nil, fmt.Errorf("%.60q: clients are told an IP address", addr)
		}
		if _, twice := out[n]; twice {
			return nil, fmt.Errorf("two addresses are announced for DC %d", n)
		}
		out[n] = addr
	}
	return out, nil
}

// AccountLogOut ends all logins of an account, also those that wait for its
// two-step password.
func (s *mtprotoServer) AccountLogOut(tx *db.Tx, who account.Name) error {
	if err := endPending(tx, who); err != nil {
		return err
	}
	keys, err := devicesOf(tx, who)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := s.endDevice(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// AccountClosing ends all logins and declines pending requests.
func (s *mtprotoServer) AccountClosing(tx *db.Tx, who account.Name) error {
	if err := s.AccountLogOut(tx, who); err != nil {
		return err
	}
	if err := tx.Queue(`DELETE FROM mtproto_fixed WHERE account = $1`, who); err != nil {
		return err
	}
	if err := removePassword(tx, who); err != nil {
		return err
	}
	user, err := userID(tx, who)
	if err != nil {
		return err
	}
	return s.declineAll(tx, user)
}
