package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/sync"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// getKeysChanges: "GET /keys/changes". What a sync between the two tokens
// would have said.
func (c *call) getKeysChanges() (any, error) {
	for _, name := range []string{"from", "to"} {
		if c.param(name) == "" {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which "+name+"?")
		}
	}
	from, err := c.paramToken("from", 0)
	if err != nil {
		return nil, err
	}
	to, err := c.paramToken("to", 0)
	if err != nil {
		return nil, err
	}
	var changed, left []quinta.UserID
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		now, err := tx.Pos()
		if err != nil {
			return err
		}
		changed, left, err = sync.DeviceLists(tx, c.user, from, min(to, now))
		return err
	})
	return map[string][]quinta.UserID{"changed": changed, "left": left}, err
}
