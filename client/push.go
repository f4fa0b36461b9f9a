package client

import (
	"context"

	"github.com/quinta-chat/quinta/e2ee"
)

// A PushOpener is a Session that can open the message in a push notification.
type PushOpener interface {
	Session
	// OpenPush opens the payload of a push notification, as the app gets it, and
	// returns an EventMessage, or an EventUndecryptable with the reason. A payload
	// that holds the ciphertext is opened with the keys of this device alone,
	// without any network; one that holds only an id is fetched with the login of
	// this device first. Nothing is stored: Run reports the same message again.
	OpenPush(ctx context.Context, payload []byte) (e2ee.Event, error)
}
