// Package matrixclient is the client half of the Matrix network: one
// end-to-end encrypted device on any homeserver.
//
// [Network] is its entry in the list of networks: Login makes a new device,
// Open resumes it from its store. The [Session] that Open returns has all
// abilities of package client. [Session.Run] keeps it connected.
//
// It uses only the client-server API, from version r0.6 on, and asks a server
// only for features that it advertises. A message to an encrypted room leaves
// sealed or not at all, and once a room was encrypted, no server can make it
// unencrypted again. A message to an unencrypted room is sent only if the
// draft allows it.
//
// What a server reports about rooms, names and memberships is not authenticated.
package matrixclient

import (
	"context"
	"net/http"
	"unicode"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// Network is the client half of the Matrix network. The zero value is ready.
type Network struct {
	// Transport carries the requests; nil means one that verifies certificates
	// and uses the proxy of the environment.
	Transport http.RoundTripper
	// VerifiedOnly gives messages only to devices that the user has verified.
	// A session uses it as it is when the session is opened.
	VerifiedOnly bool
}

var (
	_ client.Network   = Network{}
	_ client.Registrar = Network{}
	_ client.Governed  = Network{}
)

// Name returns "matrix".
func (Network) Name() quinta.NetworkName { return "matrix" }

// Policies implements client.Governed.
func (n Network) Policies() []client.Policy {
	only := n
	only.VerifiedOnly = true
	return []client.Policy{{Name: client.VerifiedOnly, Help: client.VerifiedOnlyHelp, Under: only}}
}

// Keys of this package in the store. The machine's and the timeline's are
// others.
const (
	keyRoom = "link/room/"
	keySeen = "link/seen/"
)

// Open resumes the session that the store holds.
func (n Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	a, err := seat.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	s := newSession(n, st, env, a)
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
