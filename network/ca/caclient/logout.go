package caclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

var _ client.Leaver = (*Session)(nil)

// Logout implements client.Leaver. The server revokes the device's keys. It
// is not an error if the device is already signed out. The login is removed
// from the store.
func (s *Session) Logout(ctx context.Context) error {
	err := s.link.ask(ctx, "signing out", post(wire.PathLogout), wire.LogoutRequest{}, nil)
	if err != nil && quinta.KindOf(err) != quinta.KindUnauthenticated {
		return err
	}
	return s.runner.Store().Update(ctx, func(tx e2ee.Tx) error { return tx.Delete(seat.KeyAccount) })
}
