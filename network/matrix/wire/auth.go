package wire

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/quinta-chat/quinta"
)

// The supported types of login and stages of user-interactive authentication.
const (
	StageDummy    = "m.login.dummy"
	StagePassword = "m.login.password"
	StageToken    = "m.login.registration_token"
)

// IdentifierUser is the type of an Identifier that names a user.
const IdentifierUser = "m.id.user"

// An Identifier names the user who logs in or proves who they are.
type Identifier struct {
	Type string `json:"type"`
	User string `json:"user"`
}

// LoginFlows is the answer of "GET /login".
type LoginFlows struct {
	Flows []LoginFlow `json:"flows"`
}

// A LoginFlow is one type of login.
type LoginFlow struct {
	Type string `json:"type"`
}

// A Login is the body of "POST /login". Old clients put the user at the top
// level.
type Login struct {
	Type       string     `json:"type"`
	Identifier Identifier `json:"identifier,omitzero"`
	User       string     `json:"user,omitempty"`
	Password   string     `json:"password"`
	DeviceID   *string    `json:"device_id,omitempty"`
	DeviceName *string    `json:"initial_device_display_name,omitempty"`
}

// A LoginAnswer is the answer of a login, and of a registration, which has no
// token and no device if the client wanted none.
type LoginAnswer struct {
	User       quinta.UserID   `json:"user_id"`
	Token      string          `json:"access_token,omitempty"`
	Device     quinta.DeviceID `json:"device_id,omitempty"`
	HomeServer string          `json:"home_server,omitempty"`
}

// Whoami is the answer of "GET /account/whoami".
type Whoami struct {
	User   quinta.UserID   `json:"user_id"`
	Device quinta.DeviceID `json:"device_id,omitempty"`
	Guest  bool            `json:"is_guest"`
}

// A Registration is the body of "POST /register".
type Registration struct {
	Auth         *Auth   `json:"auth,omitempty"`
	Username     *string `json:"username,omitempty"`
	Password     *string `json:"password,omitempty"`
	DeviceID     *string `json:"device_id,omitempty"`
	DeviceName   *string `json:"initial_device_display_name,omitempty"`
	InhibitLogin bool    `json:"inhibit_login,omitempty"`
}

// Auth is the member of a request that completes one stage of an
// authentication (client-server API, "User-Interactive Authentication API").
// Old clients put the user at the top level and send no session.
type Auth struct {
	Type       string     `json:"type,omitempty"`
	Session    string     `json:"session,omitempty"`
	Identifier Identifier `json:"identifier,omitzero"`
	User       string     `json:"user,omitempty"`
	Password   string     `json:"password,omitempty"`
	Token      string     `json:"token,omitempty"`
}

// WithAuth is the body of a call that contains only its authentication.
type WithAuth struct {
	Auth *Auth `json:"auth,omitempty"`
}

// A Challenge says what has to be done before a call is carried out. It goes
// over the wire as members of an Error.
type Challenge struct {
	Flows     []Flow
	Session   string
	Completed []string
}

// A Flow is a list of stages, all of which have to be completed.
type Flow struct {
	Stages []string `json:"stages"`
}

// Error returns the answer that asks for an authentication: 401, with the code
// and the text of cause, which is nil if nothing was tried yet.
func (c *Challenge) Error(cause *Error) *Error {
	e := &Error{Status: http.StatusUnauthorized}
	if cause != nil {
		e.Code, e.Message = cause.Code, cause.Message
	}
	e.With("flows", c.Flows).With("params", struct{}{}).With("session", c.Session)
	if len(c.Completed) > 0 {
		e.With("completed", c.Completed)
	}
	return e
}

// ChallengeOf reads what an error that came over the wire asks for: nil if it
// asks for no authentication, an error if the challenge is malformed.
func ChallengeOf(e *Error) (*Challenge, error) {
	if e.Status != http.StatusUnauthorized || e.Extra["flows"] == nil {
		return nil, nil
	}
	c := &Challenge{}
	for name, p := range map[string]any{"flows": &c.Flows, "session": &c.Session, "completed": &c.Completed} {
		if raw, ok := e.Extra[name].(json.RawMessage); ok && json.Unmarshal(raw, p) != nil {
			return nil, fmt.Errorf("the member %s of an authentication is malformed", name)
		}
	}
	return c, nil
}
