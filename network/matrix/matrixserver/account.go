package matrixserver

import (
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/room"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *homeserver) accountCalls() {
	s.client(http.MethodGet, "/account/whoami", endpoint{rate: rateRead, handle: (*call).getWhoami})
	s.client(http.MethodPost, "/account/password", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postPassword})
	s.client(http.MethodPost, "/account/deactivate", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postDeactivate})
}

// getWhoami: "GET /account/whoami".
func (c *call) getWhoami() (any, error) {
	return wire.Whoami{User: c.user, Device: c.device}, nil
}

// postPassword: "POST /account/password".
func (c *call) postPassword() (any, error) {
	var q struct {
		wire.WithAuth
		Password *string `json:"new_password"`
		Logout   *bool   `json:"logout_devices"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if err := c.interact(q.Auth, "password", wire.StagePassword); err != nil {
		return nil, err
	}
	if q.Password == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which new_password?")
	}
	hash, err := c.Passwords.Hash(c.Rand, *q.Password)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeWeakPassword, "this password cannot be used")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := account.SetPassword(tx, c.account(), hash); err != nil {
			return err
		}
		if q.Logout != nil && !*q.Logout {
			return nil
		}
		return c.removeDevices(tx, c.user, c.device)
	})
}

// postDeactivate: "POST /account/deactivate".
func (c *call) postDeactivate() (any, error) {
	var q wire.WithAuth
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if err := c.interact(q.Auth, "deactivate", wire.StagePassword); err != nil {
		return nil, err
	}
	return map[string]string{"id_server_unbind_result": "no-support"}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		return c.CloseAccount(tx, c.account())
	})
}

// AccountLogOut removes all devices of an account.
func (s *homeserver) AccountLogOut(tx *db.Tx, name account.Name) error {
	return s.removeDevices(tx, wire.UserID(string(name), s.Core.Name), "")
}

// AccountOf returns the account of a user of this server, or "".
func (s *homeserver) AccountOf(_ *db.Tx, user quinta.UserID) (account.Name, error) {
	local, ok := strings.CutSuffix(string(user), ":"+s.Core.Name)
	if !ok || !strings.HasPrefix(local, "@") {
		return "", nil
	}
	return account.Name(local[1:]), nil
}

// CountStored counts the events that users have sent.
func (s *homeserver) CountStored(tx *db.Tx) error {
	return room.Sizes(tx, func(sender quinta.UserID, n int64) { tx.Count(db.UserOf(network, sender), db.ClassMessages, n) })
}

// AccountClosing removes what the homeserver keeps for an account.
func (s *homeserver) AccountClosing(tx *db.Tx, name account.Name) error {
	user := wire.UserID(string(name), s.Core.Name)
	if err := s.removeDevices(tx, user, ""); err != nil {
		return err
	}
	if err := s.leaveAll(tx, user); err != nil {
		return err
	}
	if err := vault.ClearData(tx, network, user); err != nil {
		return err
	}
	if err := vault.ClearBackups(tx, network, user); err != nil {
		return err
	}
	if err := directory.Remove(tx, network, user); err != nil {
		return err
	}
	return clearFilters(tx, user)
}
