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

// tell has a user told something after the commit.
func (c *call) tell(h hint) { c.told = append(c.told, h) }

// tellNow hands hints to the connection. If there is none, or too much to tell,
// they are left out.
func (s *xmppServer) tellNow(list []hint) {
	for _, h := range list {
		select {
		case s.hints <- h:
		default:
			return
		}
	}
}

// hintPeers tells a user's own devices, and those of the user's peers, that the
// user's devices have changed.
func (c *call) hintPeers(tx *db.Tx, user quinta.UserID) error {
	what := wire.Hint{Changed: string(user)}
	c.tell(hint{to: user, what: what})
	for row, err := range tx.Query(`SELECT peer FROM (SELECT CASE WHEN first = $1 THEN second ELSE first END AS peer, created FROM xmpp_conversation WHERE first = $1 OR second = $1
		UNION SELECT o.user_id, o.since FROM xmpp_member m JOIN xmpp_member o ON o.conversation = m.conversation WHERE m.user_id = $1) AS peers
		GROUP BY peer ORDER BY MAX(created) DESC LIMIT $2`, string(user), maxPeers) {
		if err != nil {
			return err
		}
		var peer quinta.UserID
		if err := row.Scan(&peer); err != nil {
			return err
		}
		if peer != user {
			c.tell(hint{to: peer, what: what})
		}
	}
	return nil
}
