// Package matrixclient is the client half of the Matrix network: one
// end-to-end encrypted device on any homeserver.
//
// [Network] is its entry in the list of networks: Login makes a new device,
// Open resumes it from its store. The [Session] that Open returns has all
// abilities of package client. [Session.Run] keeps it connected.
//
// Only what the client-server API offers is used, from version r0.6 on: what a
// server does not advertise is not asked of it. A message to an encrypted room
// leaves sealed or not at all, and once a room was encrypted no server can
// make it plain again. A room that is not encrypted takes a message only if
// the draft allows it.
//
// What a server says of rooms, names and memberships is not authenticated.
package matrixclient

import (
	"context"
	"encoding/json"
	"net/http"
	"unicode"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// Network is the client half of the Matrix network. The zero value is ready.
type Network struct {
	// Transport carries the requests; nil means one that verifies certificates
	// and uses the proxy of the environment.
	Transport http.RoundTripper
}

var (
	_ client.Network   = Network{}
	_ client.Registrar = Network{}
)

// Name returns "matrix".
func (Network) Name() quinta.NetworkName { return "matrix" }

// Keys of this package in the store. The machine's and the timeline's are
// others.
const (
	keyAccount = "link/account"
	keyIntent  = "link/intent"
	keyRoom    = "link/room/"
	keySeen    = "link/seen/"
)

// account is what the store knows of the login.
type account struct {
	Base   string          `json:"base"`
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name,omitempty"`
	// Token is the access token.
	Token string `json:"token"`
}

// intent is a login that was begun. The device id is chosen here and kept
// before the server is asked: a login that is repeated after a crash takes up
// the same device.
type intent struct {
	Base   string          `json:"base"`
	User   string          `json:"user"`
	Device quinta.DeviceID `json:"device"`
}

// Open resumes the session that the store holds.
func (n Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	var a account
	found := false
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		found, err = load(tx, keyAccount, &a)
		return err
	}); err != nil {
		return nil, err
	}
	if !found {
		return nil, quinta.E(quinta.KindUnauthenticated, "opening the session", "nobody is logged in here")
	}
	s := newSession(n.Transport, st, env, a)
	// The machine writes its state in the form of this version, and refuses
	// that of another device.
	if err := st.Update(ctx, func(tx e2ee.Tx) error {
		_, err := s.machine.Identity(tx)
		return err
	}); err != nil {
		return nil, &quinta.Error{Kind: quinta.KindConflict, Op: "opening the session", Err: err}
	}
	return s, nil
}

var errDamaged = quinta.E(quinta.KindInternal, "reading the store", "an entry is damaged")

// load reads the JSON value at key into v and reports whether there is one.
func load(tx e2ee.Tx, key string, v any) (bool, error) {
	b, err := tx.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, errDamaged
	}
	return true, nil
}

// store writes v as JSON.
func store(tx e2ee.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(key, b)
}

// validID reports whether a server's id for something can be kept and shown:
// bounded, one line, printable.
func validID(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}
