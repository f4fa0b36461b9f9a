package caclient

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// Login logs a new device in with a password, and enrols its keys.
func (n Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	return n.enter(ctx, st, env, in, "logging in", func(c *conn, plan seat.Intent, in client.Credentials) (a wire.LoginAnswer, err error) {
		err = c.ask(ctx, "logging in", request{method: http.MethodPost, path: wire.PathLogin, open: true}, loginRequest(plan, in), &a)
		return a, err
	})
}

// Register makes an account, with the invitation Token if the server asks for
// one, and logs in as Login does.
func (n Network) Register(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	const op = "registering"
	return n.enter(ctx, st, env, in, op, func(c *conn, plan seat.Intent, in client.Credentials) (a wire.LoginAnswer, err error) {
		err = c.ask(ctx, op, request{method: http.MethodPost, path: wire.PathRegister, open: true}, wire.RegisterRequest{
			LoginRequest: loginRequest(plan, in), Token: in.Token.Reveal()}, &a)
		return a, err
	})
}

// enter chooses the device, has call make or open the account, and keeps what
// the server gave.
func (n Network) enter(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials, op string, call func(*conn, seat.Intent, client.Credentials) (wire.LoginAnswer, error)) (quinta.Device, error) {
	c, plan, err := n.begin(ctx, st, env, in, op)
	if err != nil {
		return quinta.Device{}, err
	}
	defer c.close()
	if in.Password, err = in.Answer(ctx, client.Question{Kind: client.AskPassword}); err != nil {
		return quinta.Device{}, err
	}
	a, err := call(c, plan, in)
	if err != nil {
		return quinta.Device{}, err
	}
	return n.keepLogin(ctx, st, env, c, in, plan, a)
}

// loginRequest is the body of the call; the password goes nowhere else.
func loginRequest(p seat.Intent, in client.Credentials) wire.LoginRequest {
	return wire.LoginRequest{Username: p.User, Password: in.Password.Reveal(), Device: p.Device, DeviceName: seat.DeviceName(in)}
}

// begin finds the server and chooses the device id, and keeps both.
func (n Network) begin(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials, op string) (*conn, seat.Intent, error) {
	begun, err := seat.Begin(ctx, st, op, in.User)
	if err != nil {
		return nil, seat.Intent{}, err
	}
	base, err := address(in.Server, in.User)
	if err != nil {
		return nil, seat.Intent{}, err
	}
	c := newConn(n.Transport, base, client.Secret{}, env.Now)
	// The server is asked who it is before it gets a password.
	if _, err := c.roots(ctx); err != nil {
		c.close()
		return nil, seat.Intent{}, err
	}
	plan, err := seat.Plan(ctx, st, env, begun, base, in.User, 12)
	return c, plan, err
}

// address makes the address of what a person typed: a URL, a host, or nothing
// and a user with a domain.
func address(server, user string) (string, error) {
	server = strings.TrimSpace(server)
	if server == "" {
		_, domain, ok := strings.Cut(user, "@")
		if !ok || domain == "" {
			return "", quinta.E(quinta.KindInvalid, "finding the server", "name a server, or give the user as name@domain")
		}
		server = domain
	}
	if !strings.Contains(server, "://") {
		scheme := "https://"
		if u, err := url.Parse("//" + server); err == nil && dial.Loopback(u.Hostname()) {
			scheme = "http://"
		}
		server = scheme + server
	}
	return dial.CheckBase(server)
}

// roots asks for the anchors of the authority.
func (c *conn) roots(ctx context.Context) (*ca.Roots, error) {
	const op = "asking for the authority's certificates"
	var r wire.Roots
	if err := c.ask(ctx, op, request{method: http.MethodGet, path: wire.PathRoots, open: true}, nil, &r); err != nil {
		return nil, err
	}
	if len(r.Anchors.Roots) == 0 || r.Domain == "" {
		return nil, quinta.E(quinta.KindMalformed, op, "this is not a server of the CA network: it announces no authority")
	}
	return &r.Anchors, nil
}

// publishWithin bounds how long a login waits for its keys to be certified.
const publishWithin = 20 * time.Second

// maxToken bounds an access token in bytes.
const maxToken = 4096

// keepLogin checks what the server gave, keeps it, and enrols the keys of the
// device, so that others can write to it from the moment of its login.
func (n Network) keepLogin(ctx context.Context, st client.Store, env e2ee.Env, c *conn, in client.Credentials, plan seat.Intent, a wire.LoginAnswer) (quinta.Device, error) {
	const op = "logging in"
	id := cert.Identity{User: a.Username, Device: a.Device, Use: cert.UseSign}
	local, _, _ := strings.Cut(strings.ToLower(plan.User), "@")
	switch {
	case id.Check() != nil, a.Token == "", len(a.Token) > maxToken:
		return quinta.Device{}, quinta.E(quinta.KindMalformed, op, "the server's answer names no user, device or token")
	case a.Device != plan.Device, !strings.HasPrefix(string(a.Username), local+"@"), strings.Contains(plan.User, "@") && !strings.EqualFold(plan.User, string(a.Username)):
		return quinta.Device{}, quinta.E(quinta.KindMalformed, op, "the server's answer is for another user or device")
	}
	d := quinta.Device{User: a.Username, ID: a.Device, Name: seat.DeviceName(in)}
	acc := seat.Account{Base: c.base, User: a.Username, Device: a.Device, Name: d.Name, Token: a.Token}
	s := newSession(n, st, env, acc)
	defer s.link.close()
	if err := st.Update(ctx, func(tx e2ee.Tx) error {
		if err := s.machine.Begin(tx, ca.Login{New: a.New, Delivered: a.Delivered}); err != nil {
			return err
		}
		return seat.Settle(tx, acc)
	}); err != nil {
		return quinta.Device{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	// The login stands whatever becomes of this: what does not get through is
	// in the store, and repeated when the session runs. What brings messages is
	// left to that session, which has someone to tell.
	_ = s.runner.Push(ctx, func(req any) bool {
		return slices.Contains([]ca.ReqKind{ca.ReqRoots, ca.ReqCRL, ca.ReqEnrol}, req.(ca.Req).Kind)
	})
	return d, nil
}
