package xmppserver

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta/server/db"
)

// wantLife is for how long a copy is waited for; a device that still waits asks
// again.
const wantLife = 7 * 24 * time.Hour

// Periodically removes what has expired: used proofs, tokens, and wants.
func (s *xmppServer) Periodically(ctx context.Context) error {
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		for _, table := range []string{"xmpp_proof", "xmpp_bearer"} {
			if err := tx.Queue(`DELETE FROM `+table+` WHERE expires < $1`, tx.Millis()); err != nil {
				return err
			}
		}
		return tx.Queue(`DELETE FROM xmpp_want WHERE time < $1`, tx.Now().Add(-wantLife).UnixMilli())
	})
}
