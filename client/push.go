package client

import (
	"context"

	"github.com/quinta-chat/quinta/e2ee"
)

// A PushOpener is a Session that opens what a push notification brings.
type PushOpener interface {
	Session
	// OpenPush opens the payload of a push notification, as the app gets it, and
	// returns an EventMessage, or an EventUndecryptable with the reason. A payload
	// that holds the ciphertext is opened with the keys of this device alone,
	// without any network; one that holds only an id is fetched with the login of
	// this device first. Nothing is taken in: Run tells of the same message again.
	OpenPush(ctx context.Context, payload []byte) (e2ee.Event, error)
}
