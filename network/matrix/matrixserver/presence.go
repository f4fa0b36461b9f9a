package matrixserver

import (
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// This server keeps no presence, as the specification allows: it takes what a
// client says of its user without keeping it, and shows everyone as offline.

func (s *homeserver) presenceCalls() {
	s.client(http.MethodGet, "/presence/{userId}/status", endpoint{rate: rateRead, handle: (*call).getPresence})
	s.client(http.MethodPut, "/presence/{userId}/status", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putPresence})
}

// getPresence: "GET /presence/{userId}/status".
func (c *call) getPresence() (any, error) {
	name := c.accountOf(quinta.UserID(c.path("userId")))
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		_, err := account.Get(tx, name)
		return err
	})
	if err != nil && quinta.KindOf(err) == quinta.KindNotFound {
		return nil, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such user")
	}
	return map[string]string{"presence": "offline"}, err
}

// putPresence: "PUT /presence/{userId}/status".
func (c *call) putPresence() (any, error) {
	if err := c.mine(); err != nil {
		return nil, err
	}
	var q struct {
		Presence string  `json:"presence"`
		Status   *string `json:"status_msg"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"online", "offline", "unavailable"}, q.Presence) {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "presence must be online, offline or unavailable")
	}
	return empty{}, nil
}
