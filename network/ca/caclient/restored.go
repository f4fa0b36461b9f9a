package caclient

import (
	"context"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var _ client.Restorer = (*Session)(nil)

// Restored implements client.Restorer.
func (s *Session) Restored(ctx context.Context) error {
	return s.change(ctx, "reporting that the store was restored", func(tx e2ee.Tx) error { return s.machine.Restored(tx) })
}
