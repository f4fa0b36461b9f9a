package matrixserver

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// rateAvailable bounds the questions of one address whether a name is taken.
var rateAvailable = server.Rate{Every: 10 * time.Second, Burst: 10}

func (s *homeserver) registerCalls() {
	s.client(http.MethodPost, "/register", endpoint{open: true, rate: rateOpen, body: maxOpenBody, handle: (*call).postRegister})
	s.client(http.MethodGet, "/register/available", endpoint{open: true, rate: rateAvailable, handle: (*call).getAvailable})
	s.at(http.MethodGet, "/_matrix/client/v1/register/m.login.registration_token/validity", endpoint{open: true, rate: rateOpen, handle: (*call).getTokenValidity})
}

// postRegister: "POST /register". What is wrong with the name is said before
// the authentication begins.
func (c *call) postRegister() (any, error) {
	var q wire.Registration
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if c.param("kind") == "guest" {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "guest access is not offered here")
	}
	if c.Registration == server.RegistrationClosed {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "registration is closed: ask the administrator of this server for an account")
	}
	name, err := c.wantedName(q.Username)
	if err != nil {
		return nil, err
	}
	stages := []string{wire.StageDummy}
	if c.Registration == server.RegistrationInvite {
		stages = []string{wire.StageToken}
	}
	if err := c.interact(q.Auth, "register", stages...); err != nil {
		return nil, err
	}
	if err := limited(c.Limits.Allow("register", server.ByAddr(c.addr()), server.RateRegister, 1)); err != nil {
		return nil, err
	}
	if q.Password == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "a registration requires a password")
	}
	hash, err := c.Passwords.Hash(c.Rand, *q.Password)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeWeakPassword, fmt.Sprintf("a password has 1 to %d bytes", account.MaxPassword))
	}
	create := func(tx *db.Tx) error {
		if c.Registration == server.RegistrationInvite {
			if err := account.UseInvite(tx, q.Auth.Token); err != nil {
				return err
			}
		}
		err := account.Create(tx, name, hash)
		if errors.Is(err, account.ErrTaken) {
			return errUserInUse()
		}
		return err
	}
	if q.InhibitLogin {
		user := wire.UserID(string(name), c.Core.Name)
		return wire.LoginAnswer{User: user, HomeServer: c.Core.Name}, c.Update(c.ctx(), create)
	}
	return c.openDevice(name, q.DeviceID, q.DeviceName, create)
}

func errUserInUse() error {
	return wire.NewError(http.StatusBadRequest, wire.CodeUserInUse, "this user name is taken")
}

// checkAccount refuses a name that is too long: a user id with the name of the
// server in it has at most wire.MaxID bytes.
func checkAccount(c *server.Core, name account.Name) error {
	if len(wire.UserID(string(name), c.Name)) > wire.MaxID {
		return quinta.E(quinta.KindInvalid, "account", fmt.Sprintf("the name is too long: with the server name, it can have at most %d bytes", wire.MaxID))
	}
	return nil
}

// wantedName checks the name that a client asks for, or makes one up. It counts
// what an address asks, so that no one lists the names.
func (c *call) wantedName(want *string) (account.Name, error) {
	if want == nil || *want == "" {
		raw := make([]byte, 10)
		if _, err := io.ReadFull(c.Rand, raw); err != nil {
			return "", fmt.Errorf("making a user name: %w", err)
		}
		return account.Name(strings.ToLower(base32.StdEncoding.EncodeToString(raw))), nil
	}
	// Names are lower case; upper-case letters in a request are folded, as
	// clients expect.
	name, err := account.ParseName(strings.ToLower(*want))
	if err != nil || checkAccount(c.Core, name) != nil {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidUsername, "a user name has the characters a-z, 0-9 and ._=-/+")
	}
	if err := limited(c.Limits.Allow("available", server.ByAddr(c.addr()), rateAvailable, 1)); err != nil {
		return "", err
	}
	taken := false
	if err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		taken, err = account.Taken(tx, name)
		return err
	}); err != nil {
		return "", err
	}
	if taken {
		return "", errUserInUse()
	}
	return name, nil
}

// getAvailable: "GET /register/available".
func (c *call) getAvailable() (any, error) {
	want := c.param("username")
	if want == "" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which username?")
	}
	if _, err := c.wantedName(&want); err != nil {
		return nil, err
	}
	return map[string]bool{"available": true}, nil
}

// getTokenValidity: "GET /register/m.login.registration_token/validity".
func (c *call) getTokenValidity() (any, error) {
	if err := limited(c.Limits.Allow("register", server.ByAddr(c.addr()), server.RateRegister, 1)); err != nil {
		return nil, err
	}
	if c.Registration != server.RegistrationInvite {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this server does not offer registration by token")
	}
	ok := false
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		ok, err = account.ValidInvite(tx, c.param("token"))
		return err
	})
	return map[string]bool{"valid": ok}, err
}
