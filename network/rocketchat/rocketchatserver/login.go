package rocketchatserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

func (s *rcServer) loginCalls() {
	s.rest["POST login"] = endpoint{open: true, rate: server.RateLogin, body: maxOpenBody, handle: (*call).postLogin}
	s.post("logout", func(c *call) (any, error) {
		err := c.logout()
		return map[string]any{"status": "success", "data": map[string]string{"message": "You've been logged out!"}}, err
	})
	s.post("users.logoutOtherClients", (*call).logoutOthers)
	s.methods["login"] = method{handle: (*call).ddpLogin, open: true, rate: rateOpen}
	s.ddp("logout", func(c *call) (any, error) { return nil, c.logout() })
	s.ddp("logoutOtherClients", (*call).logoutOthers)
}

// A password is how clients prove who they are: in clear, or as SHA-256 in hex.
type password struct {
	Digest    string `json:"digest"`
	Algorithm string `json:"algorithm"`
	clear     string
}

// UnmarshalJSON reads both forms.
func (p *password) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &p.clear)
	}
	type plain password
	return json.Unmarshal(b, (*plain)(p))
}

// A credential is what a login says, in all of its forms.
type credential struct {
	User     string
	Password password
	Resume   string
}

var errPassword = wire.NewError(http.StatusUnauthorized, "Unauthorized", "User or password is incorrect")

// localPart makes the name of an account of what a person typed: a name, or an
// address of this server.
func (s *rcServer) localPart(user string) account.Name {
	user = strings.ToLower(strings.TrimSpace(user))
	if local, domain, ok := strings.Cut(user, "@"); ok && local != "" {
		if domain != s.Name {
			return ""
		}
		user = local
	}
	if strings.ContainsAny(user, "=/+") {
		return ""
	}
	return account.Name(user)
}

// prove checks a password; a wrong name and a wrong password look alike.
func (c *call) prove(by incoming.By, local account.Name, p password) error {
	var wait time.Duration
	var err error
	switch {
	case p.Digest != "" && p.Algorithm == "sha-256":
		wait, err = incoming.Digest(c.ctx, c.Core, by, local, strings.ToLower(p.Digest))
	case p.clear != "":
		wait, err = incoming.Password(c.ctx, c.Core, by, local, p.clear)
	default:
		return errPassword
	}
	if errors.Is(err, incoming.ErrPassword) {
		return errPassword
	}
	if err != nil {
		return err
	}
	return limited(wait)
}

// enter logs a client in: with a password as a new device, with a token as the
// device that has it.
func (c *call) enter(in credential) error {
	if in.Resume != "" {
		o, err := incoming.Token(c.ctx, c.Core, name, in.Resume, c.addr)
		if err == nil {
			err = c.authenticate(string(o.User), in.Resume)
		}
		if errors.Is(err, incoming.ErrToken) || errors.Is(err, errLogin) {
			return wire.NewError(http.StatusUnauthorized, "403", "You've been logged out by the server. Please log in again.")
		}
		return err
	}
	local := c.localPart(in.User)
	if err := c.prove(incoming.Stranger(c.addr), local, in.Password); err != nil {
		return err
	}
	return c.open(local, func(*db.Tx) error { return nil })
}

// open makes a device with a token for an account; what first does is committed
// with it.
func (c *call) open(local account.Name, first func(tx *db.Tx) error) error {
	id, err := rocketchat.NewID(c.Rand)
	if err != nil {
		return err
	}
	return c.Update(c.ctx, func(tx *db.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		p, err := c.personOf(tx, local)
		if err != nil {
			return err
		}
		dev := quinta.DeviceID(id)
		if err := c.makeRoom(tx, p); err != nil {
			return err
		}
		if _, err := device.Put(tx, name, p.user(), dev, nil); err != nil {
			return err
		}
		c.token, err = device.NewToken(tx, c.Rand, name, p.user(), dev)
		c.me, c.device = p, dev
		return err
	})
}

// tokenLife is when clients are told to log in again; the server itself keeps a
// login until it is ended.
const tokenLife = 90 * 24 * time.Hour

// maxLogins is how many logins a user has; a further one ends the oldest.
const maxLogins = 50

func (c *call) makeRoom(tx *db.Tx, p person) error {
	list, err := device.List(tx, name, p.user())
	if err != nil || len(list) < maxLogins {
		return err
	}
	oldest := list[0]
	for _, d := range list {
		if max(d.Seen, d.Created) < max(oldest.Seen, oldest.Created) {
			oldest = d
		}
	}
	return endLogin(tx, p, oldest.ID)
}

func (c *call) postLogin() (any, error) {
	var q struct {
		User     string   `json:"user"`
		Username string   `json:"username"`
		Email    string   `json:"email"`
		Password password `json:"password"`
		Resume   string   `json:"resume"`
		Code     string   `json:"code"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	for _, other := range []string{q.Username, q.Email} {
		if q.User == "" {
			q.User = other
		}
	}
	if err := c.enter(credential{User: q.User, Password: q.Password, Resume: q.Resume}); err != nil {
		return nil, err
	}
	a := wire.Login{Status: "success"}
	a.Data.UserID, a.Data.AuthToken, a.Data.Me = c.me.ID, c.token, c.me.shown()
	return a, nil
}

func (c *call) ddpLogin() (any, error) {
	var q struct {
		User struct {
			Username string `json:"username"`
			Email    string `json:"email"`
		} `json:"user"`
		Password password `json:"password"`
		Resume   string   `json:"resume"`
	}
	if err := c.param(0, &q); err != nil {
		return nil, err
	}
	if q.User.Username == "" {
		q.User.Username = q.User.Email
	}
	if err := c.enter(credential{User: q.User.Username, Password: q.Password, Resume: q.Resume}); err != nil {
		return nil, err
	}
	kind := "password"
	if q.Resume != "" {
		kind = "resume"
	}
	return answer{"id": c.me.ID, "token": c.token, "tokenExpires": rocketchat.DateOf(c.Now().Add(tokenLife)), "type": kind}, nil
}

func (c *call) logout() error {
	return c.UpdateAlways(c.ctx, func(tx *db.Tx) error { return endLogin(tx, c.me, c.device) })
}

func (c *call) logoutOthers() (any, error) {
	err := c.UpdateAlways(c.ctx, func(tx *db.Tx) error { return c.logOutAll(tx, c.me, c.device) })
	return answer{"token": c.token, "tokenExpires": rocketchat.DateOf(c.Now().Add(tokenLife))}, err
}

func (s *rcServer) registerCalls() {
	s.rest["POST users.register"] = endpoint{open: true, rate: server.RateRegister, body: maxOpenBody, handle: (*call).register}
}

// register makes an account, where the server lets clients do so. secretURL is the
// invitation.
func (c *call) register() (any, error) {
	var q struct {
		Username  string `json:"username"`
		Name      string `json:"name"`
		Email     string `json:"email"`
		Pass      string `json:"pass"`
		SecretURL string `json:"secretURL"`
		Reason    string `json:"reason"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if c.Registration == server.RegistrationClosed {
		return nil, forbidden("on this server, the operator creates accounts")
	}
	if err := limited(c.Limits.Allow("register", server.ByAddr(c.addr), server.RateRegister, 1)); err != nil {
		return nil, err
	}
	local, err := account.ParseName(strings.ToLower(q.Username))
	if err != nil || strings.ContainsAny(string(local), "=/+") {
		return nil, refused("error-field-unavailable", "a user name has lower-case letters, digits and . _ -")
	}
	hash, err := c.Passwords.Hash(c.Rand, q.Pass)
	if err != nil {
		return nil, invalid("this password cannot be used")
	}
	var p person
	err = c.Update(c.ctx, func(tx *db.Tx) (err error) {
		if c.Registration == server.RegistrationInvite {
			if err := account.UseInvite(tx, q.SecretURL); err != nil {
				return err
			}
		}
		if err := account.Create(tx, local, hash); err != nil {
			return err
		}
		p, err = c.personOf(tx, local)
		return err
	})
	return answer{"user": p.shown()}, err
}

// secondFactor asks for the password again, as clients do it: the header x-2fa-code
// holds its SHA-256 in hex.
func (c *call) secondFactor() error {
	code := ""
	if c.r != nil {
		code = c.r.Header.Get(wire.HeaderCode)
	}
	if code == "" {
		e := wire.NewError(http.StatusBadRequest, wire.CodeTwoFactor, "TOTP Required")
		e.Details = map[string]any{"method": "password", "codeGenerated": false, "availableMethods": []string{}}
		return e
	}
	err := c.prove(incoming.Self(server.ByDevice(name, c.me.user(), c.device)), c.me.Name, password{Digest: code, Algorithm: "sha-256"})
	if errors.Is(err, errPassword) {
		e := wire.NewError(http.StatusBadRequest, wire.CodeTwoFactorWrong, "TOTP Invalid")
		e.Details = map[string]any{"method": "password"}
		return e
	}
	return err
}
