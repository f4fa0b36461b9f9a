package matrixserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

func (s *homeserver) loginCalls() {
	s.client(http.MethodGet, "/login", endpoint{open: true, rate: rateOpen, handle: (*call).getLogin})
	s.client(http.MethodPost, "/login", endpoint{open: true, rate: server.RateLogin, body: maxOpenBody, handle: (*call).postLogin})
	s.client(http.MethodPost, "/logout", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postLogout})
	s.client(http.MethodPost, "/logout/all", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postLogoutAll})
}

// getLogin: "GET /login".
func (c *call) getLogin() (any, error) {
	return wire.LoginFlows{Flows: []wire.LoginFlow{{Type: wire.StagePassword}}}, nil
}

// postLogin: "POST /login".
func (c *call) postLogin() (any, error) {
	var q wire.Login
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Type != wire.StagePassword {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "this type of login is not offered")
	}
	user := q.Identifier.User
	switch {
	case q.Identifier.Type == "" && user == "":
		user = q.User
	case q.Identifier.Type != wire.IdentifierUser:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "this type of identifier is unknown")
	}
	if user == "" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "a login requires a user")
	}
	name := c.loginName(user)
	if err := c.checkPassword(incoming.Stranger(c.addr()), name, q.Password); err != nil {
		return nil, err
	}
	return c.openDevice(name, q.DeviceID, q.DeviceName, nil)
}

// loginName turns what a person typed, a local part or a whole user id, into
// an account name; "" if it can be none of this server's.
func (c *call) loginName(user string) account.Name {
	if strings.HasPrefix(user, "@") {
		return c.accountOf(quinta.UserID(user))
	}
	return account.Name(strings.ToLower(user))
}

// checkPassword gives one answer, M_FORBIDDEN, for a wrong name and a wrong
// password, in the same time.
func (c *call) checkPassword(by incoming.By, name account.Name, password string) error {
	wait, err := incoming.Password(c.ctx(), c.Core, by, name, password)
	if errors.Is(err, incoming.ErrPassword) {
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the user name or the password is wrong")
	}
	if err != nil {
		return err
	}
	return limited(wait)
}

// openDevice gives the account a device, new or known, with one new token. A
// known device keeps its keys and loses its older tokens. before, if not nil,
// runs first in the same transaction.
func (c *call) openDevice(name account.Name, id, display *string, before func(*db.Tx) error) (any, error) {
	user := wire.UserID(string(name), c.Core.Name)
	dev, err := newDeviceID(c.Rand)
	if err != nil {
		return nil, err
	}
	if id != nil && *id != "" {
		dev = quinta.DeviceID(*id)
		if err := checkDeviceID(dev); err != nil {
			return nil, err
		}
	}
	a := wire.LoginAnswer{User: user, Device: dev, HomeServer: c.Core.Name}
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if before != nil {
			if err := before(tx); err != nil {
				return err
			}
		}
		if err := c.deviceIDFree(tx, user, dev); err != nil {
			return err
		}
		fresh, err := device.Put(tx, network, user, dev, display)
		if err != nil {
			return err
		}
		if !fresh {
			if err := device.RevokeTokens(tx, network, user, dev); err != nil {
				return err
			}
		}
		if a.Token, err = device.NewToken(tx, c.Rand, network, user, dev); err != nil {
			return err
		}
		return c.deviceAdded(tx, user, dev, fresh)
	})
	return a, err
}

// maxDeviceID bounds a device id that a client chose, in bytes.
const maxDeviceID = 255

func checkDeviceID(id quinta.DeviceID) error {
	if len(id) > maxDeviceID {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the device id is too long")
	}
	for _, r := range id {
		if r < 0x20 || r == 0x7f {
			return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the device id contains control characters")
		}
	}
	return nil
}

// newDeviceID returns ten random upper-case letters, the form that people
// know from other servers.
func newDeviceID(r io.Reader) (quinta.DeviceID, error) {
	raw := make([]byte, 10)
	if _, err := io.ReadFull(r, raw); err != nil {
		return "", fmt.Errorf("making a device id: %w", err)
	}
	for i, b := range raw {
		raw[i] = 'A' + b%26
	}
	return quinta.DeviceID(raw), nil
}

// postLogout: "POST /logout".
func (c *call) postLogout() (any, error) {
	return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error { return c.removeDevice(tx, c.user, c.device) })
}

// postLogoutAll: "POST /logout/all".
func (c *call) postLogoutAll() (any, error) {
	return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error { return c.removeDevices(tx, c.user, "") })
}
