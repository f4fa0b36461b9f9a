package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// An Approver is a Session whose device can help another device of the account
// that has lost its keys, or has none yet.
type Approver interface {
	Session
	// Approve lets another device enrol the keys with the given ids, as that
	// device shows them, after its old ones have expired.
	Approve(ctx context.Context, id quinta.DeviceID, keys ...string) error
	// Give sends the keys to messages that no device has read yet to another
	// device of the account, which the user must have verified.
	Give(ctx context.Context, id quinta.DeviceID) error
	// Retry asks the authority again for what it refused for lack of an
	// approval.
	Retry(ctx context.Context) error
}
