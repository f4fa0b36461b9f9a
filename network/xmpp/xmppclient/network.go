// Package xmppclient is the client half of the XMPP network: one end-to-end
// encrypted device on any XMPP server that has a key server beside it.
//
// [Network] is its entry in the list of networks: Login makes a new device,
// Open resumes it from its store. The [Session] that Open returns has the
// abilities of package client that this network has; [Session.Run] keeps it
// connected. A conversation is named by the bare JID of the peer or of the room.
//
// Every message leaves sealed or not at all. The XMPP server sees who writes to
// whom and when; in sealed mode, neither it nor the key server can read
// messages. Not here: creating escrow conversations.
package xmppclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// Network is the client half of the XMPP network. The zero value is ready.
type Network struct {
	// Policy is what the user decides beforehand; the zero Policy is a good
	// one.
	Policy keysrv.Policy
}

var _ client.Governed = Network{}

// Name returns "xmpp".
func (Network) Name() quinta.NetworkName { return "xmpp" }

// Policies implements client.Governed.
func (n Network) Policies() []client.Policy {
	only := n
	only.Policy.VerifiedOnly = true
	return []client.Policy{{Name: client.VerifiedOnly, Help: client.VerifiedOnlyHelp, Under: only}}
}

// keyAccount is where the store has the login. The machine's and the timeline's
// keys are others.
const keyAccount = "link/account"

// account is what the store knows of the login. XMPP has no tokens that every
// server gives, so the password is kept, in the store that is encrypted.
type account struct {
	// Server is the address that the user named: a domain, or xmpp://HOST:PORT.
	Server string          `json:"server"`
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name,omitempty"`
	// Component is the JID of the key server.
	Component string `json:"component"`
	Password  string `json:"password"`
}

// String hides the password.
func (a account) String() string { return string(a.User) + " " + string(a.Device) }

// GoString hides the password.
func (a account) GoString() string { return a.String() }

// Open resumes the session that the store holds.
func (n Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	const op = "opening the session"
	var a account
	found := false
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		a, found, err = e2ee.Load[account](tx, keyAccount)
		return err
	}); err != nil {
		return nil, err
	}
	if !found {
		return nil, quinta.E(quinta.KindUnauthenticated, op, "no account is logged in here")
	}
	return newSession(ctx, n, st, env, a)
}
