package client

import (
	"context"
	"io"
)

// A KeyPorter is a Session that can move its keys to another device in a
// file.
type KeyPorter interface {
	Session
	// ExportKeys writes the keys of all rooms, encrypted under the passphrase,
	// and returns how many there are.
	ExportKeys(ctx context.Context, w io.Writer, passphrase Secret) (int, error)
	// ImportKeys reads such a file and returns how many keys were new. If
	// progress is not nil, it is called from time to time. Messages that become
	// readable come as events.
	ImportKeys(ctx context.Context, r io.Reader, passphrase Secret, progress func(done, all int)) (int, error)
}
