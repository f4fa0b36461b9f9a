package caserver

import (
	"fmt"
	"net/http"

	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *caServer) registerCalls() {
	s.at(http.MethodPost, wire.PathRegister, endpoint{open: true, rate: server.RateRegister, status: http.StatusCreated, body: maxOpenBody, handle: (*call).postRegister})
}

// postRegister makes an account, where the server lets clients do so, and logs
// its first device in.
func (c *call) postRegister() (any, error) {
	var q wire.RegisterRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if c.Registration == server.RegistrationClosed {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "on this server, the operator creates accounts")
	}
	if err := limited(c.Limits.Allow("register", server.ByAddr(c.addr()), server.RateRegister, 1)); err != nil {
		return nil, err
	}
	if err := c.nameDevice(&q.LoginRequest); err != nil {
		return nil, err
	}
	name := c.loginName(q.Username)
	if _, err := account.ParseName(string(name)); err != nil {
		return nil, errName
	}
	hash, err := c.Passwords.Hash(c.Rand, q.Password)
	if err != nil {
		return nil, invalid(fmt.Sprintf("a password has 1 to %d bytes", account.MaxPassword))
	}
	return c.openDevice(name, q.Device, q.DeviceName, func(tx *db.Tx) error {
		if c.Registration == server.RegistrationInvite {
			if err := account.UseInvite(tx, q.Token); err != nil {
				return err
			}
		}
		return account.Create(tx, name, hash)
	})
}
