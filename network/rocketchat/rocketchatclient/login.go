package rocketchatclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// defaultDeviceName is what a device is called if its owner does not say.
const defaultDeviceName = "Quinta"

// keysWithin bounds how long a login waits for its key pair to be stored.
const keysWithin = 30 * time.Second

// Login logs in with a password. If the account has no key pair, one is made under
// an E2E password that CreateBackup shows; one that exists stays locked until
// UnlockBackup opens it.
func (n Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	return n.enter(ctx, st, env, in, "logging in", nil)
}

// Register makes an account, with the invitation Token if the server asks for one,
// and logs in as Login does.
func (n Network) Register(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	const op = "registering"
	secret, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return quinta.Device{}, err
	}
	in.Password = secret
	return n.enter(ctx, st, env, in, op, func(c *conn, user string) error {
		body := map[string]string{"username": user, "name": user, "email": user + "@localhost.invalid", "pass": in.Password.Reveal()}
		if in.Token.Reveal() != "" {
			body["secretURL"] = in.Token.Reveal()
		}
		return c.post(ctx, op, "users.register", body, nil)
	})
}

func (n Network) enter(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials, op string, first func(c *conn, user string) error) (quinta.Device, error) {
	none := quinta.Device{}
	if in.User == "" {
		return none, quinta.E(quinta.KindInvalid, op, "no user was named")
	}
	if err := st.View(ctx, func(tx e2ee.Tx) error {
		b, err := tx.Get(keyAccount)
		if err == nil && b != nil {
			err = quinta.E(quinta.KindExists, op, "an account is already logged in here")
		}
		return err
	}); err != nil {
		return none, err
	}
	base, user, err := address(in.Server, in.User)
	if err != nil {
		return none, err
	}
	c := newConn(n.Transport, base, "", client.Secret{}, env.Now)
	defer c.close()
	// The server is asked what it is before it gets a password.
	if _, err := c.version(ctx); err != nil {
		return none, err
	}
	if first != nil {
		if err := first(c, user); err != nil {
			return none, err
		}
	}
	a, at, err := c.signIn(ctx, op, user, in)
	if err != nil {
		return none, err
	}
	d := a.Data
	if d.UserID == "" || d.AuthToken == "" || len(d.AuthToken) > 4096 || d.Me.ID != d.UserID || d.Me.Username == "" {
		return none, quinta.E(quinta.KindMalformed, op, "the server's answer names no user or token")
	}
	id, err := rocketchat.NewID(env.Rand)
	if err != nil {
		return none, err
	}
	acc := account{Base: base, User: rocketchat.Author{ID: d.UserID, Name: d.Me.Username}, Device: quinta.DeviceID(id), Name: in.DeviceName, Token: d.AuthToken}
	if acc.Name == "" {
		acc.Name = defaultDeviceName
	}
	if at.IsZero() {
		at = env.Now()
	}
	s := newSession(n, st, env, acc)
	defer s.link.close()
	if err := st.Update(ctx, func(tx e2ee.Tx) error {
		// New messages arrive by themselves from now on; the rest is history.
		if _, err := s.machine.Receive(tx, rocketchat.In{Since: rocketchat.DateOf(at)}); err != nil {
			return err
		}
		return e2ee.Store(tx, keyAccount, acc)
	}); err != nil {
		return none, err
	}
	// The login stands whatever becomes of this: a key pair that is not stored is
	// in the store of this device, and offered again when the session runs.
	kctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	_ = s.runner.Push(kctx, func(req any) bool {
		kind := req.(rocketchat.Req).Kind
		return kind == rocketchat.ReqKeys || kind == rocketchat.ReqSetKeys
	})
	return s.Self(), s.openKeys(ctx, in)
}

// passwordTries is how often a login asks for the E2E password.
const passwordTries = 3

// openKeys asks for the E2E password if the account has keys that are locked. They
// may stay locked.
func (s *Session) openKeys(ctx context.Context, in client.Credentials) error {
	var info rocketchat.KeyInfo
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { info, err = s.machine.Keys(tx); return err }); err != nil || info.Phase != rocketchat.PhaseLocked {
		return err
	}
	for range passwordTries {
		secret, err := in.Answer(ctx, client.Question{Kind: client.AskKeyPassword, Text: "the E2E password of the account; leave it empty to unlock the keys later"})
		if err != nil {
			// No one is there to answer: the keys are unlocked later.
			return ctx.Err()
		}
		err = s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Unlock(tx, secret.Reveal()) })
		if !errors.Is(err, rocketchat.ErrPassword) {
			return err
		}
	}
	return nil
}

// signIn logs in with the password, and with what the server asks for besides.
// It returns the server's time of the login.
func (c *conn) signIn(ctx context.Context, op, user string, in client.Credentials) (a wire.Login, at time.Time, err error) {
	secret, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return a, at, err
	}
	body := object{"user": user, "password": secret.Reveal()}
	at, err = c.call(ctx, op, http.MethodPost, wire.PathAPI+"login", nil, body, &a)
	e, refused := errors.AsType[*wire.Error](err)
	if !refused || e.Code != wire.CodeTwoFactor {
		return a, at, err
	}
	method, _ := e.Details.(string)
	code := ""
	if method == "password" {
		sum := sha256.Sum256([]byte(secret.Reveal()))
		code = hex.EncodeToString(sum[:])
	} else {
		second, err := in.Answer(ctx, client.Question{Kind: client.AskSecondFactor, Text: "the server asks for a code by " + printable.Line(method)})
		if err != nil {
			return a, at, err
		}
		code = second.Reveal()
	}
	body["code"] = code
	head := http.Header{}
	head.Set(wire.HeaderCode, code)
	head.Set(wire.HeaderMethod, method)
	at, err = c.call(ctx, op, http.MethodPost, wire.PathAPI+"login", head, body, &a)
	return a, at, err
}

// version asks what the server is.
func (c *conn) version(ctx context.Context) (string, error) {
	const op = "asking the server for its version"
	var info wire.Info
	if _, err := c.call(ctx, op, http.MethodGet, wire.PathInfo, nil, nil, &info); err != nil {
		return "", err
	}
	if info.Version == "" {
		return "", quinta.E(quinta.KindMalformed, op, "this is not a server of this network: it announces no release")
	}
	return info.Version, nil
}

// address makes the address of a server and the user's name of what a person typed:
// a URL or a host, or a user with a domain.
func address(server, user string) (base, name string, err error) {
	server, name = strings.TrimSpace(server), strings.TrimPrefix(strings.TrimSpace(user), "@")
	if local, domain, ok := strings.Cut(name, "@"); server == "" && ok && local != "" {
		server, name = domain, local
	}
	if server == "" {
		return "", "", quinta.E(quinta.KindInvalid, "finding the server", "name a server, or give the user as name@domain")
	}
	if !strings.Contains(server, "://") {
		scheme := "https://"
		if u, err := url.Parse("//" + server); err == nil && dial.Loopback(u.Hostname()) {
			scheme = "http://"
		}
		server = scheme + server
	}
	base, err = dial.CheckBase(server)
	return base, name, err
}
