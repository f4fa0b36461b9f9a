package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// The types of login and stages of authentication that are spoken.
const (
	stagePassword = "m.login.password"
	stageDummy    = "m.login.dummy"
	stageToken    = "m.login.registration_token"
)

// loginAnswer is the answer of login and register.
type loginAnswer struct {
	User   quinta.UserID   `json:"user_id"`
	Device quinta.DeviceID `json:"device_id"`
	Token  string          `json:"access_token"`
}

// Login logs a new device in with a password.
func (n Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	c, plan, err := n.begin(ctx, st, env, in)
	if err != nil {
		return quinta.Device{}, err
	}
	defer c.close()
	a, err := c.login(ctx, in, plan)
	if err != nil {
		return quinta.Device{}, err
	}
	return n.keepLogin(ctx, st, env, c, in, a)
}

// login asks for a token.
func (c *conn) login(ctx context.Context, in client.Credentials, plan seat.Intent) (loginAnswer, error) {
	const op = "logging in"
	var flows struct {
		Flows []struct {
			Type string `json:"type"`
		} `json:"flows"`
	}
	a, err := c.call(ctx, op, request{method: http.MethodGet, path: path("login"), open: true})
	if err != nil {
		return loginAnswer{}, err
	}
	if err := a.decode(op, &flows); err != nil {
		return loginAnswer{}, err
	}
	offered := false
	for _, f := range flows.Flows {
		offered = offered || f.Type == stagePassword
	}
	if !offered {
		return loginAnswer{}, quinta.E(quinta.KindInvalid, op, "the server does not take passwords")
	}
	password, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return loginAnswer{}, err
	}
	body, err := json.Marshal(map[string]any{
		"type":       stagePassword,
		"identifier": map[string]string{"type": "m.id.user", "user": plan.User},
		"password":   password.Reveal(), "device_id": plan.Device, "initial_device_display_name": seat.DeviceName(in),
	})
	if err != nil {
		return loginAnswer{}, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	defer clear(body)
	a, err = c.call(ctx, op, request{method: http.MethodPost, path: path("login"), body: body, open: true})
	if quinta.KindOf(err) == quinta.KindForbidden && codeOf(err) == wire.CodeForbidden {
		// The specification's answer to a wrong name or password is 403.
		return loginAnswer{}, &quinta.Error{Kind: quinta.KindUnauthenticated, Op: op, Err: err}
	}
	if err != nil {
		return loginAnswer{}, err
	}
	var out loginAnswer
	return out, a.decode(op, &out)
}

// begin finds the server and chooses the device id, and keeps both.
func (n Network) begin(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (*conn, seat.Intent, error) {
	const op = "logging in"
	begun, err := seat.Begin(ctx, st, op, in.User)
	if err != nil {
		return nil, seat.Intent{}, err
	}
	c, err := discover(ctx, n.Transport, env.Now, in.Server, in.User)
	if err != nil {
		return nil, seat.Intent{}, err
	}
	plan, err := seat.Plan(ctx, st, env, begun, c.base, in.User, 10)
	return c, plan, err
}

// publishWithin bounds how long a login waits for its keys to be published.
const publishWithin = 20 * time.Second

// keepLogin checks what the server gave, keeps it, and publishes the keys of
// the device, so that others can write to it from the moment of its login.
func (n Network) keepLogin(ctx context.Context, st client.Store, env e2ee.Env, c *conn, in client.Credentials, a loginAnswer) (quinta.Device, error) {
	if _, _, ok := wire.SplitUserID(a.User); !ok || !validID(string(a.User)) || !validID(string(a.Device)) || a.Token == "" || len(a.Token) > 4096 {
		return quinta.Device{}, quinta.E(quinta.KindMalformed, "logging in", "the server's answer names no user, device or token")
	}
	d := quinta.Device{User: a.User, ID: a.Device, Name: seat.DeviceName(in)}
	acc := seat.Account{Base: c.base, User: a.User, Device: a.Device, Name: d.Name, Token: a.Token}
	if err := st.Update(ctx, func(tx e2ee.Tx) error {
		return seat.Settle(tx, acc)
	}); err != nil {
		return quinta.Device{}, err
	}
	s := newSession(n, st, env, acc)
	defer s.link.close()
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	// The login stands whatever becomes of this: what does not get through is
	// in the store, and repeated when the session runs.
	_ = s.runner.Push(ctx, nil)
	return d, nil
}

// Register makes an account, with the invitation Token if the server asks for
// one, and logs in.
func (n Network) Register(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	c, plan, err := n.begin(ctx, st, env, in)
	if err != nil {
		return quinta.Device{}, err
	}
	defer c.close()
	a, err := c.register(ctx, in, plan)
	if err != nil {
		return quinta.Device{}, err
	}
	if a.Token == "" {
		if a, err = c.login(ctx, in, plan); err != nil {
			return quinta.Device{}, err
		}
	}
	return n.keepLogin(ctx, st, env, c, in, a)
}

func (c *conn) register(ctx context.Context, in client.Credentials, plan seat.Intent) (loginAnswer, error) {
	const op = "registering"
	name := plan.User
	if local, _, ok := wire.SplitUserID(quinta.UserID(name)); ok {
		name = local
	}
	password, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return loginAnswer{}, err
	}
	var out loginAnswer
	err = c.interact(ctx, op, map[string]any{
		"username": name, "password": password.Reveal(), "device_id": plan.Device, "initial_device_display_name": seat.DeviceName(in),
	}, request{method: http.MethodPost, path: path("register"), open: true}, func(stage string) map[string]any {
		switch {
		case stage == stageDummy:
			return map[string]any{}
		case stage == stageToken && !in.Token.Empty():
			return map[string]any{"token": in.Token.Reveal()}
		}
		return nil
	}, &out)
	return out, err
}

// interact carries a call through user-interactive authentication: body goes
// with it each time, and with returns the members of one stage, or nil if it
// cannot be done.
func (c *conn) interact(ctx context.Context, op string, body map[string]any, q request, with func(stage string) map[string]any, out any) error {
	var auth map[string]any
	for range 10 { // more stages than any flow has
		if auth != nil {
			body["auth"] = auth
		}
		b, err := json.Marshal(body)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		}
		q.body = b
		a, err := c.call(ctx, op, q)
		clear(b)
		if err == nil {
			if out == nil {
				return nil
			}
			return a.decode(op, out)
		}
		we, ok := errors.AsType[*wire.Error](err)
		if !ok || we.Status != http.StatusUnauthorized || we.Extra["flows"] == nil {
			return err
		}
		if auth != nil && we.Code != "" {
			return &quinta.Error{Kind: quinta.KindUnauthenticated, Op: op, Err: we} // this stage was refused
		}
		if auth, err = nextStage(op, we, with); err != nil {
			return err
		}
	}
	return quinta.E(quinta.KindUnauthenticated, op, "the server does not come to an end of its questions")
}

// nextStage chooses a flow all of whose stages can be done, and returns the
// auth member of the next one.
func nextStage(op string, we *wire.Error, with func(string) map[string]any) (map[string]any, error) {
	var flows []struct {
		Stages []string `json:"stages"`
	}
	var session string
	var completed []string
	for name, p := range map[string]any{"flows": &flows, "session": &session, "completed": &completed} {
		if raw, ok := we.Extra[name].(json.RawMessage); ok && json.Unmarshal(raw, p) != nil {
			return nil, quinta.E(quinta.KindMalformed, op, "the server asks for an authentication that is malformed")
		}
	}
	var wanted []string
	for _, f := range flows {
		var auth map[string]any
		possible := true
		for _, s := range f.Stages {
			if slices.Contains(completed, s) {
				continue
			}
			a := with(s)
			if a == nil {
				possible = false
				break
			}
			if auth == nil {
				auth = a
				auth["type"], auth["session"] = s, session
			}
		}
		if possible && auth != nil {
			return auth, nil
		}
		wanted = append(wanted, printable.Line(strings.Join(f.Stages, " and ")))
	}
	return nil, quinta.E(quinta.KindUnauthenticated, op, "the server asks for "+strings.Join(wanted[:min(len(wanted), 5)], ", or "))
}
