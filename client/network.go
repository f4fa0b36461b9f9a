package client

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Network is the client half of one network.
type Network interface {
	// Name is the network's name in the lists of networks.
	Name() quinta.NetworkName
	// Login logs a new device in and stores what Open needs in st, which must
	// be empty. It returns an error of KindUnauthenticated if the server
	// refuses the credentials.
	Login(ctx context.Context, st Store, env e2ee.Env, in Credentials) (quinta.Device, error)
	// Open resumes the session that the store holds. It does not contact the
	// server.
	Open(ctx context.Context, st Store, env e2ee.Env) (Session, error)
}

// Credentials are what a person logs in with.
type Credentials struct {
	// Server is the address of the server, such as "https://example.org".
	Server string
	// User is a local part or a whole user name.
	User string
	// Password is sent to the server and not stored.
	Password Secret
	// Ask answers the server's questions during the login, including the one
	// for Password if that is empty and the network wants one. It may be nil;
	// see [Credentials.Answer].
	Ask func(ctx context.Context, q Question) (Secret, error)
	// DeviceName is a name for this device that people can recognise.
	DeviceName string
	// Token is the invitation that a registration may need.
	Token Secret
	// ServerKey is the public key with which the server has to prove its
	// identity, in the form that a [Keyed] network reads. Other networks ignore
	// it.
	ServerKey []byte
	// Pin, if it is not nil, is told the fingerprint of the key with which the
	// server of a [Keyed] network has just proved its identity, before the
	// server gets anything secret. An error refuses the server and ends the
	// login.
	Pin func(server, fingerprint string) error
}

// A Keyed is a Network whose servers prove their identity with a key of their
// own, in addition to the certificate of a web address.
type Keyed interface {
	Network
	// ServerKeyFingerprint reads a server's public key as operators hand it out
	// and returns the fingerprint that Credentials.Pin is told.
	ServerKeyFingerprint(key []byte) (string, error)
}

// A Registrar is a Network on which people can register accounts.
type Registrar interface {
	Network
	// Register makes an account and logs in, as Login does.
	Register(ctx context.Context, st Store, env e2ee.Env, in Credentials) (quinta.Device, error)
}
