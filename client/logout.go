package client

import "context"

// A Leaver is a Session that can sign its own device out.
type Leaver interface {
	Session
	// Logout signs this device out on the server. The store is of no use
	// afterwards.
	Logout(ctx context.Context) error
}
