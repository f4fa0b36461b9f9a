package matrixclient

import (
	"context"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var _ client.Restorer = (*Session)(nil)

// Restored implements client.Restorer.
func (s *Session) Restored(ctx context.Context) error {
	if err := s.st.Update(ctx, func(tx e2ee.Tx) error { return s.machine.Restored(tx) }); err != nil {
		return err
	}
	s.runner.Wake()
	return nil
}
