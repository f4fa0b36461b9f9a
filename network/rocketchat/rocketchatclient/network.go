// Package rocketchatclient is the client half of the Rocket.Chat network: one user
// with their end-to-end keys on one device, on a quintad or on a Rocket.Chat
// workspace of release 6.10 or later.
//
// [Network] is its entry in the list of networks. Login makes a new login, Open
// resumes it from its store. It uses REST, and DDP over a websocket for events
// that the server sends by itself.
//
// A message to an encrypted room leaves sealed or not at all. On this network,
// reactions, names and topics of rooms, and their members are in clear; nothing
// that the server reports about a sender, a time or an order is authenticated.
package rocketchatclient

import (
	"context"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// Network is the client half of the Rocket.Chat network. The zero value is ready.
type Network struct {
	// Transport carries the requests; nil means one that verifies certificates
	// and uses the proxy of the environment.
	Transport http.RoundTripper
}

var (
	_ client.Network   = Network{}
	_ client.Registrar = Network{}
)

// Name returns "rocketchat".
func (Network) Name() quinta.NetworkName { return "rocketchat" }

// Keys of this package in the store.
const (
	keyAccount = "link/account"
	keyRoom    = "link/room/"
)

// account is what the store knows of the login.
type account struct {
	Base string            `json:"base"`
	User rocketchat.Author `json:"user"`
	// Device names this login; the network has no name for it.
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name,omitempty"`
	// Token is the auth token.
	Token string `json:"token"`
}

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
	return newSession(n, st, env, a), nil
}
