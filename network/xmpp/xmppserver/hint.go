package xmppserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// A hint is something that a user's devices are told over the component. One
// that is lost does no harm: devices ask by themselves now and then.
type hint struct {
	to   quinta.UserID
	what wire.Hint
}

// The bounds of hints.
const (
	maxHints = 1000
	maxPeers = 500
)

// tell has a user told something after the commit. If there is no connection,
// or too much to tell, it is left out.
func (s *xmppServer) tell(tx *db.Tx, h hint) {
	tx.OnCommit(func() {
		select {
		case s.hints <- h:
		default:
		}
	})
}

// hintPeers tells a user's own devices, and those of the user's peers, that the
// user's devices have changed.
func (s *xmppServer) hintPeers(tx *db.Tx, user quinta.UserID) error {
	what := wire.Hint{Changed: string(user)}
	s.tell(tx, hint{to: user, what: what})
	for row, err := range tx.Query(`SELECT CASE WHEN first = $1 THEN second ELSE first END FROM xmpp_conversation WHERE first = $1 OR second = $1 ORDER BY created DESC LIMIT $2`, string(user), maxPeers) {
		if err != nil {
			return err
		}
		var peer quinta.UserID
		if err := row.Scan(&peer); err != nil {
			return err
		}
		if peer != user {
			s.tell(tx, hint{to: peer, what: what})
		}
	}
	return nil
}
