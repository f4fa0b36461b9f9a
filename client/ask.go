package client

import "context"

// An Asker is a Session that can tell senders that no device of this account
// could read their messages.
type Asker interface {
	Session
	// AskAgain asks the senders of all messages that this device cannot read;
	// their devices may then encrypt them again automatically. It returns how
	// many messages it asked for.
	AskAgain(ctx context.Context) (int, error)
}
