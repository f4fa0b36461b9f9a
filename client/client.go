// Package client is the core under every client half: it joins an end-to-end
// encryption machine, a link to the network, and a store.
//
// A [Loop] runs one device. What the machine writes and what is shown to the
// user are committed together; requests leave only after that commit and are
// repeated with the same bytes until they are answered, even after a crash.
// So nothing that was acknowledged is lost, nothing is shown twice, and no
// message key is used twice.
//
// A [Runner] is the loop as a session needs it, with waits and, for a link that
// is [Connected], a connection.
//
// What is not here: any network. The packages network/<n>/<n>client implement
// [Link] and offer a [Session].
package client

import (
	"context"

	"github.com/quinta-chat/quinta/e2ee"
)

// A Store keeps the private state of one device: an ordered map from keys to
// values, with transactions. Its implementations are the packages below
// client/store; the suite client/store/storetest holds for all of them.
type Store interface {
	// Update runs fn alone, with no other Update or View at the same time, and
	// durably commits what fn wrote, or none of it if fn returns an error.
	Update(ctx context.Context, fn func(e2ee.Tx) error) error
	// View runs fn on the committed state. A write in fn fails.
	View(ctx context.Context, fn func(e2ee.Tx) error) error
	// Close ends the use of the store, after which another process can open it.
	Close() error
}

// A Link carries requests of a machine over the wire of one network.
type Link[In, Req, Ans any] interface {
	// Do carries out one request; those of several lanes at the same time. A
	// refusal by the server is an answer, for the machine to judge. An error
	// means that there is no answer: after one of KindUnavailable or
	// KindLimited, the same request is tried again with the same bytes; after
	// any other, the loop ends.
	Do(ctx context.Context, req Req) (Ans, error)
	// Receive waits for what comes next, and reads from the store where it
	// left off. Its errors mean the same as those of Do.
	Receive(ctx context.Context, st Store) (In, error)
}
