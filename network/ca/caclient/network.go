// Package caclient is the client half of the CA network: one end-to-end
// encrypted device whose keys the authority of a quintad certifies.
//
// [Network] is its entry in the list of networks: Login makes a new device,
// Open resumes it from its store. The [Session] that Open returns has the
// abilities of package client that this network can have; [Session.Run] keeps
// it connected. There are no invitations: the members of a conversation are
// in it as soon as someone creates it.
//
// Every message leaves sealed or not at all: there is no way to send in
// clear. What the server reports about members and about the time of arrival
// of a message is not authenticated; keys, revocations and messages are.
package caclient

import (
	"context"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// Network is the client half of the CA network. The zero value is ready.
type Network struct {
	// Transport carries the requests; nil means one that verifies certificates
	// and uses the proxy of the environment.
	Transport http.RoundTripper
	// Policy is what the user decides beforehand; the zero Policy is a good
	// default. A session uses the policy as it is when the session is opened.
	Policy ca.Policy
}

var (
	_ client.Network   = Network{}
	_ client.Registrar = Network{}
	_ client.Governed  = Network{}
)

// Name returns "ca".
func (Network) Name() quinta.NetworkName { return "ca" }

// Policies implements client.Governed.
func (n Network) Policies() []client.Policy {
	only, rsa, sessions, reseal := n, n, n, n
	only.Policy.VerifiedOnly = true
	rsa.Policy.RSA = true
	sessions.Policy.Sessions = true
	reseal.Policy.Resealing = ca.ResealNever
	return []client.Policy{
		{Name: client.VerifiedOnly, Help: client.VerifiedOnlyHelp, Under: only},
		{Name: "rsa", Help: "give the device RSA-3072 keys instead of P-256 keys", Under: rsa},
		{Name: "sessions", Help: "send smaller messages in direct conversations", Under: sessions},
		{Name: "no-resealing", Help: "never re-encrypt old messages for a new device", Under: reseal},
	}
}

// Keys of this package in the store. The machine's and the timeline's are
// others.
const (
	keyRoom = "link/room/"
)

// Open resumes the session that the store holds.
func (n Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	a, err := seat.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	s := newSession(n, st, env, a)
	// The machine refuses the state of another device.
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		_, err := s.machine.Rooms(tx)
		return err
	}); err != nil {
		return nil, &quinta.Error{Kind: quinta.KindConflict, Op: "opening the session", Err: err}
	}
	return s, nil
}
