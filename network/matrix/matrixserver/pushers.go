package matrixserver

import (
	"encoding/json"
	"net/http"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/push"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *homeserver) pusherCalls() {
	s.client(http.MethodGet, "/pushers", endpoint{rate: rateRead, handle: (*call).getPushers})
	s.client(http.MethodPost, "/pushers/set", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postPusher})
}

// getPushers: "GET /pushers".
func (c *call) getPushers() (any, error) {
	var list []json.RawMessage
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		list, err = push.List(tx, c.user)
		return err
	})
	return map[string]any{"pushers": list}, err
}

// postPusher: "POST /pushers/set": makes, replaces or, with kind null,
// removes a pusher.
func (c *call) postPusher() (any, error) {
	var p push.Pusher
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if err := p.Check(c.private()); err != nil {
		return nil, err
	}
	if p.Kind == nil {
		return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error { return push.Remove(tx, c.user, p.AppID, p.Pushkey) })
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error { return push.Put(tx, c.user, c.device, p) })
}

// private reports whether the operator lets users name any push gateway.
func (s *homeserver) private() bool { return s.Setting(privateGateways) == "on" }
