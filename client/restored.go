package client

import "context"

// A Restorer is a Session that can recover from an old copy of its store.
type Restorer interface {
	Session
	// Restored tells the session that its store was restored from an old copy,
	// or was copied from a device that is still in use. The session stops
	// encrypting with any key that may have been used since. It must be called
	// before anything is sent.
	Restored(ctx context.Context) error
}
