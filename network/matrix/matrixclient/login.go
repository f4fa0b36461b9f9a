package matrixclient

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

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
func (c *conn) login(ctx context.Context, in client.Credentials, plan seat.Intent) (wire.LoginAnswer, error) {
	const op = "logging in"
	var flows wire.LoginFlows
	a, err := c.call(ctx, op, request{method: http.MethodGet, path: path("login"), open: true})
	if err != nil {
		return wire.LoginAnswer{}, err
	}
	if err := a.decode(op, &flows); err != nil {
		return wire.LoginAnswer{}, err
	}
	if !slices.Contains(flows.Flows, wire.LoginFlow{Type: wire.StagePassword}) {
		return wire.LoginAnswer{}, quinta.E(quinta.KindInvalid, op, "the server does not accept passwords")
	}
	password, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return wire.LoginAnswer{}, err
	}
	id, name := string(plan.Device), seat.DeviceName(in)
	body, err := json.Marshal(wire.Login{
		Type: wire.StagePassword, Identifier: wire.Identifier{Type: wire.IdentifierUser, User: plan.User},
		Password: password.Reveal(), DeviceID: &id, DeviceName: &name,
	})
	if err != nil {
		return wire.LoginAnswer{}, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	defer clear(body)
	a, err = c.call(ctx, op, request{method: http.MethodPost, path: path("login"), body: body, open: true})
	if quinta.KindOf(err) == quinta.KindForbidden && codeOf(err) == wire.CodeForbidden {
		// The specification's answer to a wrong name or password is 403.
		return wire.LoginAnswer{}, &quinta.Error{Kind: quinta.KindUnauthenticated, Op: op, Err: err}
	}
	if err != nil {
		return wire.LoginAnswer{}, err
	}
	var out wire.LoginAnswer
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
func (n Network) keepLogin(ctx context.Context, st client.Store, env e2ee.Env, c *conn, in client.Credentials, a wire.LoginAnswer) (quinta.Device, error) {
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

func (c *conn) register(ctx context.Context, in client.Credentials, plan seat.Intent) (wire.LoginAnswer, error) {
	const op = "registering"
	name := plan.User
	if local, _, ok := wire.SplitUserID(quinta.UserID(name)); ok {
		name = local
	}
	password, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return wire.LoginAnswer{}, err
	}
	secret, id, display := password.Reveal(), string(plan.Device), seat.DeviceName(in)
	q := wire.Registration{Username: &name, Password: &secret, DeviceID: &id, DeviceName: &display}
	var out wire.LoginAnswer
	err = c.interact(ctx, op, interaction{
		request: request{method: http.MethodPost, path: path("register"), open: true},
		body:    func(a *wire.Auth) any { q.Auth = a; return q },
		with: func(stage string) *wire.Auth {
			switch {
			case stage == wire.StageDummy:
				return &wire.Auth{}
			case stage == wire.StageToken && !in.Token.Empty():
				return &wire.Auth{Token: in.Token.Reveal()}
			}
			return nil
		},
	}, &out)
	return out, err
}
