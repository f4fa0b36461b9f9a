package matrixserver

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *homeserver) accountDataCalls() {
	for _, scope := range []string{"", "/rooms/{roomId}"} {
		path := "/user/{userId}" + scope + "/account_data/{type}"
		s.client(http.MethodGet, path, endpoint{rate: rateRead, handle: (*call).getAccountData})
		s.client(http.MethodPut, path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).putAccountData})
		s.at(http.MethodDelete, "/_matrix/client/unstable/org.matrix.msc3391"+path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteAccountData})
	}
}

// mine refuses a path that names another user than the caller.
func (c *call) mine() error {
	if c.path("userId") != string(c.user) {
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this belongs to another user")
	}
	return nil
}

// dataScope returns the room that the path names, or "" if it names none.
func (c *call) dataScope() (string, error) {
	if !strings.Contains(c.ep.route, "{roomId}") {
		return "", nil
	}
	id := c.path("roomId")
	if len(id) < 2 || len(id) > wire.MaxID || id[0] != '!' {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a room id")
	}
	return id, nil
}

// dataName returns the scope and the type that the path names, if the caller
// may read it.
func (c *call) dataName() (scope, name string, err error) {
	if err := c.mine(); err != nil {
		return "", "", err
	}
	if scope, err = c.dataScope(); err != nil {
		return "", "", err
	}
	return scope, c.path("type"), nil
}

// changeableData is dataName for one who writes: some types are kept by the
// server itself.
func (c *call) changeableData() (scope, name string, err error) {
	if scope, name, err = c.dataName(); err != nil {
		return "", "", err
	}
	switch {
	case name == wire.DataPushRules, name == wire.DataFullyRead:
		return "", "", wire.NewError(http.StatusMethodNotAllowed, wire.CodeBadJSON, name+" cannot be set by this call")
	case len(name) > vault.MaxDataName:
		return "", "", wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the type is too long")
	}
	return scope, name, nil
}

// getAccountData: "GET /user/{userId}/account_data/{type}" and
// "GET /user/{userId}/rooms/{roomId}/account_data/{type}".
func (c *call) getAccountData() (any, error) {
	scope, name, err := c.dataName()
	if err != nil {
		return nil, err
	}
	if name == wire.DataPushRules && scope == "" {
		return c.getPushRules()
	}
	var v json.RawMessage
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		v, err = vault.GetData(tx, network, c.user, scope, name)
		return err
	})
	return v, err
}

// putAccountData: "PUT /user/{userId}/account_data/{type}" and
// "PUT /user/{userId}/rooms/{roomId}/account_data/{type}". An empty object
// removes what there is (MSC3391).
func (c *call) putAccountData() (any, error) {
	scope, name, err := c.changeableData()
	if err != nil {
		return nil, err
	}
	v, err := c.object()
	if err != nil {
		return nil, err
	}
	ms, err := canonicaljson.Members(v)
	if err == nil && len(ms) == 0 {
		return c.removeData(scope, name)
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		return putData(tx, c.user, scope, name, v)
	})
}

// putData stores account data and wakes the user's devices.
func putData(tx *db.Tx, user quinta.UserID, scope, name string, v json.RawMessage) error {
	feed.Bump(tx, feed.User(network, user))
	return vault.PutData(tx, network, user, scope, name, v)
}

// deleteAccountData: "DELETE /user/{userId}/account_data/{type}" and the same
// of a room (MSC3391).
func (c *call) deleteAccountData() (any, error) {
	scope, name, err := c.changeableData()
	if err != nil {
		return nil, err
	}
	return c.removeData(scope, name)
}

func (c *call) removeData(scope, name string) (any, error) {
	return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		feed.Bump(tx, feed.User(network, c.user))
		_, err := vault.DeleteData(tx, network, c.user, scope, name)
		return err
	})
}
